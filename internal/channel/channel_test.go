package channel_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// post is a notifying action that keeps what it is told.
type post struct {
	name    string
	subject bool // it takes one
	plan    error
	apply   error
	heard   *[]string
}

func (p post) Spec() action.Spec {
	s := action.Spec{Name: p.name, Effect: action.Notify, Params: []action.Param{
		{Name: "to", Type: action.String, Required: true, Doc: "where to"}, {Name: "message", Type: action.String, Required: true},
	}}
	if p.subject {
		s.Params = append(s.Params, action.Param{Name: "subject", Type: action.String})
	}
	return s
}

func (p post) Plan(_ context.Context, in action.Input) (action.Change, error) {
	params, err := json.Marshal(in.Params)
	if p.plan != nil {
		err = p.plan
	}
	return action.Change{
		Action: p.name, Params: params, Target: entity.Entity{Kind: entity.Resource, ID: in.Params.String("to")},
		Calls: []string{"post " + in.Params.String("to")}, Token: in.Token, Incident: in.Incident,
	}, err
}

func (p post) Apply(_ context.Context, c action.Change) (action.Result, error) {
	if p.apply != nil {
		return action.Result{}, p.apply
	}
	*p.heard = append(*p.heard, p.name+" "+c.Token+" "+string(c.Params))
	return action.Result{Changed: true}, nil
}

// notify makes the action of an installation with a paper post, a post with subjects, and a lock.
func notify(t *testing.T, c channel.Config, failing map[string]error) (*channel.Notify, *[]string) {
	t.Helper()
	heard := &[]string{}
	n, err := channel.New(c, []action.Action{
		post{name: "paper.post", heard: heard, apply: failing["paper.post"]},
		post{name: "email.post", subject: true, heard: heard, apply: failing["email.post"], plan: failing["plan email.post"]},
		lock{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, heard
}

// lock is no action that notifies.
type lock struct{ post }

func (lock) Spec() action.Spec { return action.Spec{Name: "house.lock", Effect: action.Contain} }

func channels() channel.Config {
	return channel.Config{
		"security": {
			{Use: "paper.post", With: map[string]any{"to": "door"}},
			{Use: "email.post", With: map[string]any{"to": "ann", "subject": "not this", "message": "nor this"}},
			{Use: "paper.post", With: map[string]any{"to": "window"}},
		},
		"quiet": nil,
	}
}

func tell(t *testing.T, n *channel.Notify, params map[string]any) (action.Change, error) {
	t.Helper()
	bound, err := action.Bind(n.Spec(), params)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.Plan(t.Context(), action.Input{
		Place: action.Place{Account: "111122223333"}, Params: bound, Incident: "inc-1", Run: "run-1", Step: "tell", Token: "token",
	})
	if err != nil {
		return c, err
	}
	text, err := json.Marshal(c) // what Apply gets comes from the journal
	if err != nil {
		t.Fatal(err)
	}
	var journaled action.Change
	if err := json.Unmarshal(text, &journaled); err != nil {
		t.Fatal(err)
	}
	return journaled, nil
}

func TestEveryTargetHears(t *testing.T) {
	t.Parallel()
	n, heard := notify(t, channels(), nil)
	c, err := tell(t, n, map[string]any{"channel": "security", "message": "fire", "subject": "House"})
	if err != nil {
		t.Fatal(err)
	}
	if len(*heard) > 0 {
		t.Errorf("planning told %v", *heard)
	}
	if diff := cmp.Diff([]string{"post door", "post ann", "post window"}, c.Calls); diff != "" || c.Noop || c.Summary != "Tell channel security (3 targets)" {
		t.Errorf("%+v %s", c, diff)
	}
	result, err := n.Apply(t.Context(), c)
	if diff := cmp.Diff(action.Result{Changed: true, Outputs: map[string]any{"delivered": 3}}, result); diff != "" || err != nil {
		t.Error(diff, err)
	}
	want := []string{
		`paper.post token-0 {"message":"fire","to":"door"}`,
		`email.post token-1 {"message":"fire","subject":"House","to":"ann"}`,
		`paper.post token-2 {"message":"fire","to":"window"}`,
	}
	if diff := cmp.Diff(want, *heard); diff != "" {
		t.Error(diff)
	}
}

func TestTheSubjectIsTheIncidentWhereNoneIsGiven(t *testing.T) {
	t.Parallel()
	n, _ := notify(t, channels(), nil)
	c, err := tell(t, n, map[string]any{"channel": "security", "message": "fire"})
	if err != nil || !strings.Contains(string(c.After), `"subject":"Riposte, incident inc-1"`) {
		t.Errorf("planned %s, %v", c.After, err)
	}
}

func TestOneThatFailsKeepsNobodyFromHearing(t *testing.T) {
	t.Parallel()
	n, heard := notify(t, channels(), map[string]error{"email.post": fault.New(fault.Denied, "no stamps")})
	c, err := tell(t, n, map[string]any{"channel": "security", "message": "fire"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := n.Apply(t.Context(), c)
	want := action.Result{Changed: true, Outputs: map[string]any{"delivered": 2}, Note: "not delivered to all: no stamps"}
	if diff := cmp.Diff(want, result); diff != "" || err != nil || len(*heard) != 2 {
		t.Errorf("%v heard, %v %s", *heard, err, diff)
	}
}

// Nobody heard: the step fails, and is tried again where that may help any of them.
func TestNobodyHeard(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		paper, email error
		want         fault.Kind
	}{
		"for good":        {fault.New(fault.Denied, "no stamps"), fault.New(fault.Denied, "no address"), fault.Denied},
		"for now":         {fault.New(fault.Transient, "strike"), fault.New(fault.Transient, "full"), fault.Transient},
		"some for now":    {fault.New(fault.Denied, "no stamps"), fault.New(fault.Transient, "full"), fault.Transient},
		"others for good": {fault.New(fault.Transient, "strike"), fault.New(fault.Denied, "no address"), fault.Transient},
	} {
		n, heard := notify(t, channels(), map[string]error{"paper.post": test.paper, "email.post": test.email})
		c, err := tell(t, n, map[string]any{"channel": "security", "message": "fire"})
		if err != nil {
			t.Fatal(err)
		}
		result, err := n.Apply(t.Context(), c)
		if !fault.Is(err, test.want) || result.Changed || len(*heard) > 0 {
			t.Errorf("%s: got %+v, %v (%s), want %s", name, result, err, fault.KindOf(err), test.want)
		}
		if err != nil && (!strings.Contains(err.Error(), test.paper.Error()) || !strings.Contains(err.Error(), test.email.Error())) {
			t.Errorf("%s: %v does not tell both causes", name, err)
		}
	}
}

func TestAChannelWithoutTargetsIsRecordedOnly(t *testing.T) {
	t.Parallel()
	n, heard := notify(t, channels(), nil)
	c, err := tell(t, n, map[string]any{"channel": "quiet", "message": "fire"})
	if err != nil || !c.Noop || len(c.Calls) > 0 || !strings.Contains(string(c.Params), "fire") {
		t.Errorf("planned %+v, %v", c, err)
	}
	result, err := n.Apply(t.Context(), c)
	want := action.Result{Outputs: map[string]any{"delivered": 0}, Note: "the channel has no targets: recorded only"}
	if diff := cmp.Diff(want, result); diff != "" || err != nil || len(*heard) > 0 {
		t.Errorf("%v %s", err, diff)
	}
}

// Whoever mistypes a channel must not believe that people are told.
func TestAChannelThatThereIsNotIsRefused(t *testing.T) {
	t.Parallel()
	n, _ := notify(t, channels(), nil)
	_, err := action.Bind(n.Spec(), map[string]any{"channel": "securty", "message": "fire"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"securty" is not one of quiet, security`) {
		t.Errorf("got %v, want it refused with the channels that there are", err)
	}
}

func TestATargetThatCantBePlanned(t *testing.T) {
	t.Parallel()
	n, _ := notify(t, channels(), map[string]error{"plan email.post": fault.New(fault.Invalid, "too long")})
	_, err := tell(t, n, map[string]any{"channel": "security", "message": "fire"})
	if !fault.Is(err, fault.Invalid) || err.Error() != "channel security, email.post: too long" {
		t.Errorf("got %v", err)
	}
}

// The configuration may change between plan and apply, with a restart between them.
func TestATargetThatIsGone(t *testing.T) {
	t.Parallel()
	before, _ := notify(t, channels(), nil)
	c, err := tell(t, before, map[string]any{"channel": "security", "message": "fire"})
	if err != nil {
		t.Fatal(err)
	}
	heard := []string{}
	after, err := channel.New(nil, []action.Action{post{name: "paper.post", heard: &heard}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := after.Apply(t.Context(), c)
	if err != nil || result.Note != "not delivered to all: email.post is no longer configured" || len(heard) != 2 {
		t.Errorf("got %+v, %v, heard %v", result, err, heard)
	}
	c.After = json.RawMessage(`{"a":1}`)
	if _, err := after.Apply(t.Context(), c); err == nil {
		t.Error("took a plan that is none")
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := channel.New(channel.Config{
		"a": {{Use: "paper.post", With: map[string]any{"to": "door"}}, {Use: "paper.pots"}},
		"b": {{Use: "house.lock"}},
		"c": {{Use: "paper.post"}, {Use: "paper.post", With: map[string]any{"to": 7}}, {Use: "paper.post", With: map[string]any{"to": "x", "cc": "y"}}},
	}, []action.Action{post{name: "paper.post"}, lock{}})
	want := `channels.a[1]: "paper.pots" is no action that notifies; there are paper.post
channels.b[0]: "house.lock" is no action that notifies; there are paper.post
channels.c[0]: paper.post needs the parameter "to": where to
channels.c[1]: paper.post: parameter "to": is the number 7, not text
channels.c[2]: paper.post has no parameter "cc"; it takes to, message`
	if err == nil || err.Error() != want || !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestSpec(t *testing.T) {
	t.Parallel()
	n, _ := notify(t, nil, nil)
	if s := n.Spec(); s.Name != channel.Name || s.Effect != action.Notify || !s.Takes("subject") {
		t.Errorf("got %+v", s)
	}
}
