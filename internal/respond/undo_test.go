package respond_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

const both = shut + `
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`

// undo takes back what was applied for the incident of a run, and gives the run that did.
func (o *office) undo(id string, what run.Undoing) string {
	o.Helper()
	undoing, err := o.runner.Undo(o.Context(), o.Store, o.journal(id).Run.Incident, what, "ann")
	if err != nil {
		o.Fatal(err)
	}
	o.work()
	return undoing.ID
}

// beside starts a run for the incident of another one.
func (o *office) beside(id, text string) string {
	o.Helper()
	d := o.decide(text)
	i := o.journal(id).Incident
	i.Findings++
	d.Incident, d.Runs[0].Incident = &i, i.ID
	if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.Save(o.Context(), d) }); err != nil {
		o.Fatal(err)
	}
	if err := o.legs.Start(o.Context(), d.Runs[0].ID, 1, 0); err != nil {
		o.Fatal(err)
	}
	o.work()
	return d.Runs[0].ID
}

func TestUndoRestoresExactly(t *testing.T) {
	for _, test := range []struct {
		name string
		what func(first, second string) run.Undoing
		want map[string]string // of the things that were changed
	}{
		{
			"a step", func(first, _ string) run.Undoing { return run.Undoing{Runs: []string{first}, Step: "door"} },
			map[string]string{"door": "open", "window": "locked", "gate": "shut"},
		},
		{
			"a run", func(_, second string) run.Undoing { return run.Undoing{Runs: []string{second}} },
			map[string]string{"door": "shut", "window": "shut", "gate": "open"},
		},
		{
			"the incident", func(string, string) run.Undoing { return run.Undoing{} },
			map[string]string{"door": "open", "window": "open", "gate": "open"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			story(t, func(o *office) {
				first := o.begin(book(run.Auto, both))
				time.Sleep(time.Minute)
				second := o.beside(first, book(run.Auto, `
steps:
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: locked}
	- id: gate
	  use: test.world.set_thing
	  with: {thing: gate, to: shut}
`))
				undone := o.undo(first, test.what(first, second))
				o.is(undone, run.Succeeded)
				want := map[string]string{account + "/lamp": "open"}
				for thing, value := range test.want {
					want[account+"/"+thing] = value
				}
				if diff := cmp.Diff(want, o.world.Values()); diff != "" {
					o.Error(diff)
				}
				again := o.undo(first, test.what(first, second))
				o.is(again, run.Succeeded)
				o.reason(again, "nothing to undo")
				if _, err := o.VerifyLedger(o.Context()); err != nil {
					o.Error(err)
				}
			})
		})
	}
}

func TestUndoFreesTheBudgetAndSaysSo(t *testing.T) {
	story(t, func(o *office) {
		text := book(run.Auto, "limits: {per_hour: 2}"+both)
		id := o.begin(text)
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(id, run.Succeeded, "door=undone", "window=undone")
		o.is(undone, run.Succeeded, id+"/window=done", id+"/door=done") // the last first
		want := "run.started, undo.intended " + id + "/window, undo.ended " + id + "/window, undo.intended " + id + "/door, undo.ended " +
			id + "/door, run.ended"
		if got := o.recorded(undone); got != want {
			o.Errorf("got\n%s, want\n%s", got, want)
		}
		if by := o.entries(undone, record.UndoIntended)[0].Actor; by != "ann" {
			o.Errorf("the ledger says that %s undid it", by)
		}
		o.is(o.begin(text), run.Succeeded)
	})
}

func TestUndoRefusesOnDrift(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, both))
		o.world.Put(account, "door", "bricked up")
		refused := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(refused, run.Failed, id+"/window=done", id+"/door=failed")
		o.reason(refused, "1 of 2 changes were not undone")
		if got, want := o.step(refused, id+"/door").Error, `somebody changed it since:  was "shut", is "bricked up" (force overwrites that)`; got != want {
			o.Errorf("got %q, want %q", got, want)
		}
		o.value("door", "bricked up")
		o.value("window", "open")

		forced := o.undo(id, run.Undoing{Runs: []string{id}, Force: true})
		o.is(forced, run.Succeeded, id+"/door=done")
		o.value("door", "open")
		intended := o.entries(forced, record.UndoIntended)
		if len(intended) != 1 {
			o.Fatalf("%d intentions are recorded, want 1", len(intended))
		}
		if body := string(intended[0].Body); !containsAll(body, `"force":true`, `"is":"bricked up"`, `"was":"shut"`) {
			o.Errorf("the record doesn't say what was overwritten: %s", body)
		}
	})
}

func TestDriftBetweenLookAndUndo(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, shut))
		o.world.Before(actiontest.Undoing, "door", 1, actiontest.Do(func() { o.world.Put(account, "door", "ajar") }))
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(undone, run.Failed)
		o.value("door", "ajar")
	})
}

func TestUndoOfWhatIsGoneFails(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, both))
		o.world.Remove(account, "door")
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(undone, run.Failed, id+"/window=done", id+"/door=failed")
	})
}

func TestUndoIsTriedAgain(t *testing.T) {
	for _, phase := range []actiontest.Phase{actiontest.Drifting, actiontest.Undoing, actiontest.Restoring} {
		for name, fail := range map[string]func(o *office){
			"before": func(o *office) { o.world.Before(phase, "door", 7, actiontest.Fail(fault.Transient)) },
			"after":  func(o *office) { o.world.After(phase, "door", 7, actiontest.Fail(fault.Transient)) },
		} {
			t.Run(string(phase)+" "+name, func(t *testing.T) {
				story(t, func(o *office) {
					id := o.begin(book(run.Auto, shut))
					fail(o)
					undone := o.undo(id, run.Undoing{Runs: []string{id}})
					o.later(time.Minute)
					o.later(time.Minute)
					o.is(undone, run.Succeeded)
					o.value("door", "open")
					if got := len(o.entries(undone, record.UndoIntended)); got != 1 {
						o.Errorf("the intention is recorded %d times, want once", got)
					}
				})
			})
		}
	}
}

func TestDestroyedIsNotUndone(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, "allow_destroy: [test.world.break_thing]"+both+broken[len("\nsteps:\n"):]))
		o.is(id, run.Succeeded)
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(undone, run.Failed, id+"/lamp=failed", id+"/window=done", id+"/door=done")
		o.reason(undone, "1 of 3 changes were not undone")
	})
}

func TestUndoStopsWhatWaits(t *testing.T) {
	story(t, func(o *office) {
		id := o.begin(book(run.Auto, shut+`
	- id: sure
	  approve: {by: [incident_analyst]}
	- id: window
	  use: test.world.set_thing
	  with: {thing: window, to: shut}
`))
		o.is(id, run.Waiting, "door=done", "sure=asked")
		o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(id, run.Cancelled)
		o.value("door", "open")
		open, err := o.Approvals(o.Context(), store.ApprovalFilter{Answer: run.Pending})
		if err != nil || len(open) > 0 {
			o.Errorf("%d questions are open, %v", len(open), err)
		}
	})
}

// TestUndoOfWhatMayHaveBeenApplied: the run is held because the answers of Apply get lost.
func TestUndoOfWhatMayHaveBeenApplied(t *testing.T) {
	story(t, func(o *office) {
		o.world.After(actiontest.Applying, "door", -1, actiontest.Fail(fault.Transient))
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Held, "door=intended")
		o.value("door", "shut")
		o.undo(id, run.Undoing{Runs: []string{id}})
		o.is(id, run.Cancelled, "door=undone")
		o.value("door", "open")
	})
}

func TestUndoThatCannotBe(t *testing.T) {
	story(t, func(o *office) {
		id := o.create(book(run.Auto, shut))
		of := o.journal(id).Run.Incident
		for name, test := range map[string]struct {
			of   string
			what run.Undoing
			want fault.Kind
		}{
			"of a run under way":         {of, run.Undoing{Runs: []string{id}}, fault.Conflict},
			"of a run that isn't there":  {of, run.Undoing{Runs: []string{"none"}}, fault.NotFound},
			"of a step that isn't there": {of, run.Undoing{Runs: []string{id}, Step: "none"}, fault.NotFound},
			"of an incident without any": {"none", run.Undoing{}, fault.NotFound},
		} {
			if _, err := o.runner.Undo(o.Context(), o.Store, test.of, test.what, "ann"); !fault.Is(err, test.want) {
				o.Errorf("%s: got %v, want an error of kind %s", name, err, test.want)
			}
		}
	})
}

func TestConclude(t *testing.T) {
	for _, test := range []struct {
		name    string
		says    string
		verdict incident.Verdict
		undoes  bool
	}{
		{"a false positive undoes", "on_false_positive: undo", incident.FalsePositive, true},
		{"a true positive doesn't", "on_false_positive: undo", incident.TruePositive, false},
		{"what is expected doesn't", "on_false_positive: undo", incident.Benign, false},
		{"unless the playbook keeps", "on_false_positive: keep", incident.FalsePositive, false},
		{"as it does by itself", "", incident.FalsePositive, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			story(t, func(o *office) {
				before := o.world.Values()
				done := o.begin(book(run.Auto, test.says+both))
				waiting := o.beside(done, book(run.Approve, test.says+`
steps:
	- id: gate
	  use: test.world.set_thing
	  with: {thing: gate, to: shut}
`))
				after := o.world.Values()
				undoing, err := o.runner.Conclude(o.Context(), o.Store, o.journal(done).Run.Incident, test.verdict, "ann")
				if err != nil {
					o.Fatal(err)
				}
				o.work()
				o.is(waiting, run.Cancelled)
				if undid := undoing != nil; undid != test.undoes {
					o.Fatalf("undoes: %t, want %t", undid, test.undoes)
				}
				want := maps.Clone(after)
				if test.undoes {
					want = before
					o.is(undoing.ID, run.Succeeded)
				}
				if diff := cmp.Diff(want, o.world.Values()); diff != "" {
					o.Error(diff)
				}
			})
		})
	}
}

func TestConcludeWaitsForWhatIsUnderWay(t *testing.T) {
	story(t, func(o *office) {
		id := o.create(book(run.Auto, "on_false_positive: undo"+shut))
		of := o.journal(id).Run.Incident
		if _, err := o.runner.Conclude(o.Context(), o.Store, of, incident.FalsePositive, "ann"); !fault.Is(err, fault.Conflict) {
			o.Errorf("got %v, want a Conflict", err)
		}
		o.work()
		if _, err := o.runner.Conclude(o.Context(), o.Store, of, incident.FalsePositive, "ann"); err != nil {
			o.Fatal(err)
		}
		o.work()
		o.value("door", "open")
	})
}

func TestNoopOfOthersIsNotOurs(t *testing.T) {
	story(t, func(o *office) { // somebody did the same between plan and apply, and nothing of ours got lost
		o.world.Before(actiontest.Applying, "door", 1, actiontest.Do(func() { o.world.Put(account, "door", "shut") }))
		id := o.begin(book(run.Auto, shut))
		o.is(id, run.Succeeded, "door=done")
		if diff := cmp.Diff(&action.Result{Left: []byte(`"shut"`), Outputs: map[string]any{"was": "open"}}, o.step(id, "door").Result); diff != "" {
			o.Error(diff)
		}
		undone := o.undo(id, run.Undoing{Runs: []string{id}})
		o.reason(undone, "nothing to undo")
		o.value("door", "shut")
	})
}
