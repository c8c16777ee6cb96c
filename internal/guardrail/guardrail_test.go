package guardrail_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/run"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// question is about isolating an instance, which nothing forbids: the playbook is automatic.
func question(changes ...func(*guardrail.Question)) guardrail.Question {
	q := guardrail.Question{
		Now: noon, Effect: action.Contain, Playbook: "isolate", Autonomy: run.Auto,
		Change: action.Change{
			Action: "aws.ec2.isolate_instance", Place: action.Place{Account: "111122223333", Region: "eu-west-1"},
			Target: entity.Entity{Kind: entity.Instance, ID: "i-1", ARN: "arn:aws:ec2:eu-west-1:111122223333:instance/i-1"},
			Touches: []entity.Entity{
				{Kind: entity.NetworkInterface, ID: "eni-1", ARN: "arn:aws:ec2:eu-west-1:111122223333:network-interface/eni-1"},
			},
			Tags: map[string]string{"env": "prod", "keep": ""},
		},
		Budgets: []guardrail.Budget{{Name: "changes an hour", Used: 1, Most: 2}},
	}
	for _, change := range changes {
		change(&q)
	}
	return q
}

func autonomy(a run.Autonomy) func(*guardrail.Question) {
	return func(q *guardrail.Question) { q.Autonomy = a }
}

func effect(e action.Effect) func(*guardrail.Question) {
	return func(q *guardrail.Question) { q.Effect = e }
}

func protected(q *guardrail.Question) {
	q.Protections = append(q.Protections, guardrail.Protection{Kind: entity.Instance, Name: "i-*", Reason: "bastion"})
}

func noop(q *guardrail.Question)     { q.Change.Noop = true }
func approved(q *guardrail.Question) { q.Approved = true }
func voided(q *guardrail.Question)   { q.Voided = true }
func destroys(q *guardrail.Question) { q.Destroys = true }

func frozen(q *guardrail.Question) {
	q.Freezes = append(q.Freezes, guardrail.Freeze{Scope: guardrail.Everything, By: "ann", Reason: "release"})
}

func spent(q *guardrail.Question) {
	q.Budgets = append(q.Budgets, guardrail.Budget{Name: "accounts an hour", Used: 3, Most: 3})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	blocked := guardrail.Verdict{Outcome: guardrail.Block, Reasons: []string{"instance i-1 is protected: bastion"}}
	already := guardrail.Verdict{Outcome: guardrail.Pass, Reasons: []string{"it is already so"}}
	plan := guardrail.Verdict{Outcome: guardrail.Plan, Reasons: []string{"autonomy is observe"}}
	wait := guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"frozen by ann: release"}}
	over := guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"budget accounts an hour is used up: 3 of 3"}}
	yes := guardrail.Verdict{Outcome: guardrail.Pass, Reasons: []string{"approved"}}
	auto := guardrail.Verdict{Outcome: guardrail.Pass, Reasons: []string{"autonomy is auto"}}
	ask := guardrail.Verdict{Outcome: guardrail.Ask, Reasons: []string{"autonomy is approve"}}
	stale := guardrail.Verdict{Outcome: guardrail.Ask, Reasons: []string{"it is no longer what was approved"}}
	forGood := guardrail.Verdict{Outcome: guardrail.Ask, Reasons: []string{"aws.ec2.isolate_instance cannot be undone"}}
	for name, test := range map[string]struct {
		question guardrail.Question
		want     guardrail.Verdict
	}{
		"automatic":                         {question(), auto},
		"approve":                           {question(autonomy(run.Approve)), ask},
		"approve, approved":                 {question(autonomy(run.Approve), approved), yes},
		"observe":                           {question(autonomy(run.Observe)), plan},
		"no autonomy":                       {question(autonomy("")), plan},
		"an autonomy nobody knows":          {question(autonomy("full")), plan},
		"observe beats an approval":         {question(autonomy(run.Observe), approved), plan},
		"destroy asks":                      {question(effect(action.Destroy)), forGood},
		"destroy, named":                    {question(effect(action.Destroy), destroys), auto},
		"destroy, named, approve":           {question(effect(action.Destroy), destroys, autonomy(run.Approve)), ask},
		"destroy, approved":                 {question(effect(action.Destroy), approved), yes},
		"destroy, observe":                  {question(effect(action.Destroy), destroys, autonomy(run.Observe)), plan},
		"voided asks again":                 {question(voided), stale},
		"voided, then approved anew":        {question(voided, approved), yes},
		"frozen":                            {question(frozen), wait},
		"frozen beats an approval":          {question(frozen, approved), wait},
		"observe goes on in a freeze":       {question(frozen, autonomy(run.Observe)), plan},
		"frozen beats a budget":             {question(frozen, spent), wait},
		"budget":                            {question(spent), over},
		"budget beats an approval":          {question(spent, approved), over},
		"budget beats voided":               {question(spent, voided), over},
		"noop":                              {question(noop), already},
		"noop goes on in a freeze":          {question(noop, frozen, spent), already},
		"noop needs nobody":                 {question(noop, autonomy(run.Observe)), already},
		"protected":                         {question(protected), blocked},
		"protected beats an approval":       {question(protected, approved), blocked},
		"protected beats noop":              {question(protected, noop), blocked},
		"protected beats observe":           {question(protected, autonomy(run.Observe)), blocked},
		"protected beats frozen and budget": {question(protected, frozen, spent), blocked},
		"a read of what is protected":       {question(effect(action.Read), protected, frozen, spent), guardrail.Verdict{Outcome: guardrail.Pass}},
		"a message in a freeze":             {question(effect(action.Notify), protected, frozen, autonomy(run.Observe)), guardrail.Verdict{Outcome: guardrail.Pass}},
		"an effect nobody declared":         {question(effect(""), protected), blocked},
		"an effect nobody knows":            {question(effect("reads"), autonomy(run.Approve)), ask},
		"an effect nobody knows, automatic": {question(effect("reads")), forGood},
	} {
		if diff := cmp.Diff(test.want, guardrail.Check(test.question)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		freeze guardrail.Freeze
		want   guardrail.Outcome
	}{
		"everything":               {guardrail.Freeze{Scope: guardrail.Everything}, guardrail.Wait},
		"everything, until later":  {guardrail.Freeze{Scope: guardrail.Everything, Until: noon.Add(time.Nanosecond)}, guardrail.Wait},
		"everything, until now":    {guardrail.Freeze{Scope: guardrail.Everything, Until: noon}, guardrail.Pass},
		"everything, until before": {guardrail.Freeze{Scope: guardrail.Everything, Until: noon.Add(-time.Hour)}, guardrail.Pass},
		"this account":             {guardrail.Freeze{Scope: guardrail.OfAccount, Value: "111122223333"}, guardrail.Wait},
		"this account, ended":      {guardrail.Freeze{Scope: guardrail.OfAccount, Value: "111122223333", Until: noon}, guardrail.Pass},
		"another account":          {guardrail.Freeze{Scope: guardrail.OfAccount, Value: "444455556666"}, guardrail.Pass},
		"this playbook":            {guardrail.Freeze{Scope: guardrail.OfPlaybook, Value: "isolate"}, guardrail.Wait},
		"another playbook":         {guardrail.Freeze{Scope: guardrail.OfPlaybook, Value: "isolate-2"}, guardrail.Pass},
	} {
		q := question(func(q *guardrail.Question) { q.Freezes = []guardrail.Freeze{test.freeze} })
		if got := guardrail.Check(q); got.Outcome != test.want {
			t.Errorf("%s: got %+v, want %s", name, got, test.want)
		}
	}
}

func TestFreezesAreAllNamed(t *testing.T) {
	t.Parallel()
	got := guardrail.Check(question(frozen, func(q *guardrail.Question) {
		q.Freezes = append(q.Freezes, guardrail.Freeze{Scope: guardrail.OfPlaybook, Value: "isolate", By: "bob", Reason: "review"})
	}))
	want := guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"frozen by ann: release", "frozen by bob: review"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		budgets []guardrail.Budget
		want    guardrail.Verdict
	}{
		"none":      {nil, guardrail.Verdict{Outcome: guardrail.Pass, Reasons: []string{"autonomy is auto"}}},
		"one left":  {[]guardrail.Budget{{"a", 1, 2}}, guardrail.Verdict{Outcome: guardrail.Pass, Reasons: []string{"autonomy is auto"}}},
		"none left": {[]guardrail.Budget{{"a", 2, 2}}, guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"budget a is used up: 2 of 2"}}},
		"overdrawn": {[]guardrail.Budget{{"a", 5, 2}}, guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"budget a is used up: 5 of 2"}}},
		"nothing allowed": {
			[]guardrail.Budget{{"percent", 0, 0}},
			guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"budget percent is used up: 0 of 0"}},
		},
		"two": {
			[]guardrail.Budget{{"a", 2, 2}, {"b", 0, 2}, {"c", 1, 1}},
			guardrail.Verdict{Outcome: guardrail.Wait, Reasons: []string{"budget a is used up: 2 of 2", "budget c is used up: 1 of 1"}},
		},
	} {
		got := guardrail.Check(question(func(q *guardrail.Question) { q.Budgets = test.budgets }))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestProtection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		protection guardrail.Protection
		want       bool
	}{
		"empty covers nothing":         {guardrail.Protection{Reason: "all of it"}, false},
		"kind":                         {guardrail.Protection{Kind: entity.Instance}, true},
		"other kind":                   {guardrail.Protection{Kind: entity.Bucket}, false},
		"name":                         {guardrail.Protection{Name: "i-1"}, true},
		"part of a name":               {guardrail.Protection{Name: "i-"}, false},
		"name pattern":                 {guardrail.Protection{Name: "i*1"}, true},
		"kind and name":                {guardrail.Protection{Kind: entity.Instance, Name: "i-1"}, true},
		"kind and other name":          {guardrail.Protection{Kind: entity.Instance, Name: "i-2"}, false},
		"arn":                          {guardrail.Protection{ARN: "arn:aws:ec2:eu-west-1:111122223333:instance/i-1"}, true},
		"arn pattern":                  {guardrail.Protection{ARN: "arn:aws:ec2:*:111122223333:instance/*"}, true},
		"arn of another account":       {guardrail.Protection{ARN: "arn:aws:ec2:*:444455556666:*"}, false},
		"account of the place":         {guardrail.Protection{Account: "111122223333"}, true},
		"other account":                {guardrail.Protection{Account: "444455556666"}, false},
		"tag key":                      {guardrail.Protection{Tag: "env"}, true},
		"tag key with an empty value":  {guardrail.Protection{Tag: "keep"}, true},
		"tag key and no value":         {guardrail.Protection{Tag: "keep="}, true},
		"tag and value":                {guardrail.Protection{Tag: "env=prod"}, true},
		"tag and other value":          {guardrail.Protection{Tag: "env=dev"}, false},
		"tag in another case":          {guardrail.Protection{Tag: "Env=prod"}, false},
		"absent tag":                   {guardrail.Protection{Tag: "owner"}, false},
		"absent tag with no value":     {guardrail.Protection{Tag: "owner="}, false},
		"all at once":                  {guardrail.Protection{Kind: entity.Instance, Name: "i-*", Account: "111122223333", Tag: "env=prod"}, true},
		"all but one":                  {guardrail.Protection{Kind: entity.Instance, Name: "i-*", Account: "111122223333", Tag: "env=dev"}, false},
		"what it touches":              {guardrail.Protection{Kind: entity.NetworkInterface}, true},
		"what it touches, by arn":      {guardrail.Protection{ARN: "*:network-interface/eni-1"}, true},
		"tags are the target's alone":  {guardrail.Protection{Kind: entity.NetworkInterface, Tag: "env"}, false},
		"what it doesn't touch, named": {guardrail.Protection{Kind: entity.NetworkInterface, Name: "eni-2"}, false},
	} {
		want := guardrail.Pass
		if test.want {
			want = guardrail.Block
		}
		got := guardrail.Check(question(func(q *guardrail.Question) { q.Protections = []guardrail.Protection{test.protection} }))
		if got.Outcome != want {
			t.Errorf("%s: got %+v, want %s", name, got, want)
		}
	}
}

// An entity may be known by its ARN alone, and belong to another account than the one acted in.
func TestProtectionOfAnEntityByItself(t *testing.T) {
	t.Parallel()
	policy := entity.Entity{Kind: entity.Policy, ID: "arn:aws:iam::444455556666:policy/base", Account: "444455556666"}
	at := action.Place{Account: "111122223333"}
	for _, p := range []guardrail.Protection{{ARN: "arn:aws:iam::*:policy/base"}, {Account: "444455556666"}, {Account: "111122223333"}} {
		if !p.Covers(policy, at, nil) {
			t.Errorf("%+v does not cover %+v at %+v", p, policy, at)
		}
	}
}

func TestProtectionsAreAllNamedOnce(t *testing.T) {
	t.Parallel()
	got := guardrail.Check(question(func(q *guardrail.Question) {
		q.Change.Touches = append(q.Change.Touches, q.Change.Target)
		q.Protections = []guardrail.Protection{
			{Account: "111122223333", Reason: "payments"}, {Tag: "env", Reason: "production"},
		}
	}))
	want := guardrail.Verdict{Outcome: guardrail.Block, Reasons: []string{
		"instance i-1 is protected: payments", "network_interface eni-1 is protected: payments",
		"instance i-1 is protected: production",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
