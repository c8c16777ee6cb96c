package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws/awsdemo"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// teller follows the ledger, tells people each entry as it comes, and answers questions as an analyst would.
type teller struct {
	stage  *stage
	server *client.Client

	mu      sync.Mutex
	entries []ledger.Entry
}

func newTeller(s *stage, server *client.Client) *teller { return &teller{stage: s, server: server} }

// run follows until ctx ends.
func (t *teller) run(ctx context.Context) {
	for ctx.Err() == nil {
		query := url.Values{"from": {strconv.Itoa(t.count())}, "wait": {"10s"}, "limit": {"200"}}
		var page store.Page[ledger.Entry]
		if err := t.server.Get(ctx, "/v1/ledger", query, &page); err != nil {
			if ctx.Err() == nil {
				t.stage.say("   (the ledger does not answer: %v)", err)
				time.Sleep(time.Second)
			}
			continue
		}
		for _, e := range page.Items {
			t.stage.say("   %s  %s", e.Time.UTC().Format("15:04:05.000"), told(e))
			if e.Kind == record.ApprovalAsked {
				t.answer(ctx, e)
			}
			t.mu.Lock()
			t.entries = append(t.entries, e)
			t.mu.Unlock()
		}
	}
}

func (t *teller) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}

// answer shows a question as a person sees it and answers it: yes, but for stopping the server, whose memory
// is evidence and which is cut off already.
func (t *teller) answer(ctx context.Context, e ledger.Entry) {
	var asked struct {
		Approval string
		Hash     string
	}
	if err := json.Unmarshal(e.Body, &asked); err != nil {
		t.stage.say("   (a question that cannot be read: %v)", err)
		return
	}
	var approval run.Approval
	if err := t.stage.analyst.Get(ctx, "/v1/approvals/"+asked.Approval, nil, &approval); err != nil {
		t.stage.say("   (the question cannot be shown: %v)", err)
		return
	}
	t.stage.say("                 ┌ a person is asked (%s):", strings.Join(approval.Roles, ", "))
	verb, reason := "approve", "the finding is right, go on"
	for _, p := range approval.Plans {
		t.stage.say("                 │ %s", p.Change.Summary)
		for _, impact := range p.Change.Impact {
			t.stage.say("                 │   mind: %s", impact)
		}
		if p.Change.Action == "aws.ec2.stop_instance" {
			verb, reason = "deny", "it is cut off already, and its memory is evidence"
		}
	}
	t.stage.say("                 └ the demonstration's analyst answers: %s, %s", verb, reason)
	err := t.stage.analyst.Post(ctx, "/v1/approvals/"+asked.Approval+"/"+verb, api.Answer{Hash: asked.Hash, Reason: reason}, nil)
	if err != nil {
		t.stage.say("   (the answer was not taken: %v)", err)
	}
}

// told is an entry in words.
func told(e ledger.Entry) string {
	var b struct {
		Title, Type, Severity, Playbook, Subject, Autonomy, Action, State, Error, Answer, Reason, Merged, Into, Why string
		Finding                                                                                                     string
		Change                                                                                                      struct{ Summary string }
		Target                                                                                                      struct{ Kind, ID string }
		Verified                                                                                                    bool
		Guardrails                                                                                                  struct {
			Outcome string
			Reasons []string
		}
	}
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return string(e.Kind)
	}
	switch e.Kind {
	case record.IncidentOpened:
		return fmt.Sprintf("INCIDENT  opened: %s (%s, %s)", b.Title, b.Severity, b.Type)
	case record.IncidentGrew:
		return fmt.Sprintf("incident  grows by %s (%s)", b.Type, b.Severity)
	case record.IncidentMerged:
		return "incident  two turn out to be one"
	case record.RunStarted:
		if b.Playbook == "" {
			return "RUN       takes back what was applied"
		}
		return fmt.Sprintf("RUN       playbook %s starts (%s) for %s", b.Playbook, b.Autonomy, b.Subject)
	case record.ActionPlanned:
		if b.Change.Summary != "" {
			return fmt.Sprintf("step      %s: planned: %s → guardrails: %s %s", e.Step, b.Change.Summary, b.Guardrails.Outcome, strings.Join(b.Guardrails.Reasons, "; "))
		}
		return fmt.Sprintf("step      %s: looked at %s %s", e.Step, b.Target.Kind, b.Target.ID)
	case record.ActionIntended:
		return fmt.Sprintf("step      %s: %s", e.Step, b.Change.Summary)
	case record.ActionEnded:
		if b.Error != "" {
			return fmt.Sprintf("step      %s: %s: %s", e.Step, b.State, b.Error)
		}
		proof := ""
		if b.Verified {
			proof = ", read back and holds"
		}
		return fmt.Sprintf("step      %s: %s%s", e.Step, b.State, proof)
	case record.ApprovalAsked:
		return fmt.Sprintf("step      %s: waits for a person", e.Step)
	case record.ApprovalDecided:
		return fmt.Sprintf("step      %s: %s by %s (%s)", e.Step, b.Answer, e.Actor, b.Reason)
	case record.UndoIntended:
		return fmt.Sprintf("undo      %s on %s %s", b.Action, b.Target.Kind, b.Target.ID)
	case record.UndoEnded:
		return fmt.Sprintf("undo      %s: restored, read back and holds", b.Action)
	case record.RunEnded:
		if b.Reason == "" {
			return "RUN       ends: " + b.State
		}
		return fmt.Sprintf("RUN       ends: %s; %s", b.State, b.Reason)
	default:
	}
	return fmt.Sprintf("%s %s", e.Kind, b.Why)
}

// result tells what came of an act from the entries since.
func (t *teller) result(since int, began time.Time, act string) result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := result{act: act, runs: "none"}
	var states []string
	for i, e := range t.entries[since:] {
		if i == 0 {
			r.decided = e.Time.Sub(began)
		}
		if e.Kind == record.RunEnded {
			var b struct{ State string }
			if json.Unmarshal(e.Body, &b) == nil {
				states = append(states, b.State)
			}
			r.contained = e.Time.Sub(began)
		}
	}
	if len(states) > 0 {
		slices.Sort(states)
		r.runs = strings.Join(states, ", ")
	}
	return r
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

func (s *stage) title(text string) {
	fmt.Fprintf(s.Out, "\n── %s %s\n\n", text, strings.Repeat("─", max(0, 90-len([]rune(text)))))
}

// facts shows the account's state; what differs from before is marked.
func (s *stage) facts(now, before []awsdemo.Fact) {
	rows := make([][]string, 0, len(now))
	for _, f := range now {
		mark := ""
		if before != nil {
			if was := is(before, f.Resource, f.What); was != f.Is {
				mark = "was " + was
			}
		}
		rows = append(rows, []string{"  " + f.Resource, f.What, f.Is, mark})
	}
	s.table(rows)
}

func (s *stage) table(rows [][]string) {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // nobody reads on then
}

func took(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return d.Round(time.Millisecond).String()
}

// short is what stands before the parenthesis.
func short(title string) string {
	before, _, _ := strings.Cut(title, " (")
	return before
}
