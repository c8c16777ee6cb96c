package action_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

func change(changes ...func(*action.Change)) action.Change {
	c := action.Change{
		Action: "aws.ec2.isolate_instance", Place: action.Place{Account: "111122223333", Region: "eu-west-1"},
		Params: json.RawMessage(`{"instance_id":"i-1","note":"<&>\u2028"}`), Target: entity.Entity{Kind: entity.Instance, ID: "i-1"},
		Touches: []entity.Entity{{Kind: entity.NetworkInterface, ID: "eni-1"}},
		Before:  json.RawMessage(`{"groups":["sg-1"]}`), After: json.RawMessage(`{"groups":["sg-2"]}`),
		Calls: []string{"ec2:ModifyNetworkInterfaceAttribute eni-1"}, Summary: "Isolate",
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

// An approval is for a hash: it binds what would be done, survives the journal, and nothing else moves it.
func TestHash(t *testing.T) {
	t.Parallel()
	first := change().Hash()
	if len(first) != 64 {
		t.Fatalf("hash %q", first)
	}
	for name, same := range map[string]action.Change{
		"again":     change(),
		"journaled": journaled(t, change()),
		"twice":     journaled(t, journaled(t, change())),
		"spaced":    change(func(c *action.Change) { c.Before = json.RawMessage("{ \"groups\": [\n\"sg-1\" ] }") }),
		"impact":    change(func(c *action.Change) { c.Impact = []string{"3 connections end"} }),
		"outputs":   change(func(c *action.Change) { c.Outputs = map[string]any{"user": "ann"} }),
		"summary":   change(func(c *action.Change) { c.Summary, c.Reason = "Isolate it", "another" }),
		"tags":      change(func(c *action.Change) { c.Tags = map[string]string{"env": "prod"} }),
		"run":       change(func(c *action.Change) { c.Run, c.Step, c.Token, c.Incident = "r", "s", "t", "i" }),
	} {
		if same.Hash() != first {
			t.Errorf("%s: the hash changes", name)
		}
	}
	seen := map[string]string{first: "as it is"}
	for name, other := range map[string]action.Change{
		"action":          change(func(c *action.Change) { c.Action = "aws.ec2.stop_instance" }),
		"account":         change(func(c *action.Change) { c.Account = "444455556666" }),
		"region":          change(func(c *action.Change) { c.Region = "us-east-1" }),
		"parameters":      change(func(c *action.Change) { c.Params = json.RawMessage(`{}`) }),
		"no parameters":   change(func(c *action.Change) { c.Params = nil }),
		"target":          change(func(c *action.Change) { c.Target.ID = "i-2" }),
		"touches":         change(func(c *action.Change) { c.Touches[0].ID = "eni-2" }),
		"touches more":    change(func(c *action.Change) { c.Touches = append(c.Touches, entity.Entity{Kind: entity.Volume, ID: "vol-1"}) }),
		"touches nothing": change(func(c *action.Change) { c.Touches = nil }),
		"before":          change(func(c *action.Change) { c.Before = json.RawMessage(`{"groups":["sg-9"]}`) }),
		"after":           change(func(c *action.Change) { c.After = json.RawMessage(`{"groups":["sg-9"]}`) }),
		"before is after": change(func(c *action.Change) { c.Before, c.After = c.After, c.Before }),
		"calls":           change(func(c *action.Change) { c.Calls = append(c.Calls, "ec2:StopInstances i-1") }),
		"no calls":        change(func(c *action.Change) { c.Calls = nil }),
		"one call of two": change(func(c *action.Change) { c.Calls = []string{"a", "b"} }),
		"a call of both":  change(func(c *action.Change) { c.Calls = []string{"ab"} }),
	} {
		hash := other.Hash()
		if same, taken := seen[hash]; taken {
			t.Errorf("%s: the same hash as %s", name, same)
		}
		seen[hash] = name
	}
}

func TestHashOfLittle(t *testing.T) {
	t.Parallel()
	empty := change(func(c *action.Change) { c.Params, c.Before, c.After = json.RawMessage{}, json.RawMessage{}, nil })
	if empty.Hash() != journaled(t, empty).Hash() {
		t.Error("nothing is not nothing any more after the journal")
	}
}

func spec() action.Spec {
	return action.Spec{Name: "x.act", Params: []action.Param{
		{Name: "who", Type: action.String, Required: true, Doc: "whom to act on"},
		{Name: "mode", Type: action.String, Default: "soft", Enum: []string{"soft", "hard"}},
		{Name: "depth", Type: action.Int, Default: int64(3)},
		{Name: "force", Type: action.Bool},
		{Name: "keep", Type: action.Duration},
		{Name: "ports", Type: action.Strings},
		{Name: "labels", Type: action.Object},
		{Name: "at", Type: action.Time},
	}}
}

func TestBind(t *testing.T) {
	t.Parallel()
	got, err := action.Bind(spec(), map[string]any{
		"who": "ann", "mode": "hard", "depth": 7, "force": true, "keep": "90s", "ports": []any{"22", "80"},
		"labels": map[string]any{"a": 1}, "at": nil,
	})
	want := action.Params{
		"who": "ann", "mode": "hard", "depth": int64(7), "force": true, "keep": "90s", "ports": []string{"22", "80"},
		"labels": map[string]any{"a": 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	for _, p := range []action.Params{got, journaled(t, got)} {
		if p.String("who") != "ann" || p.Int("depth") != 7 || !p.Bool("force") || p.Duration("keep") != 90*time.Second {
			t.Errorf("got %v", p)
		}
		if diff := cmp.Diff([]string{"22", "80"}, p.Strings("ports")); diff != "" {
			t.Error(diff)
		}
	}
	if got.String("depth") != "" || got.Int("who") != 0 || got.Bool("who") || got.Strings("who") != nil || got.Duration("mode") != 0 {
		t.Error("a parameter of another type is not empty")
	}
}

func TestBindFillsInDefaults(t *testing.T) {
	t.Parallel()
	got, err := action.Bind(spec(), map[string]any{"who": "ann", "mode": nil})
	if diff := cmp.Diff(action.Params{"who": "ann", "mode": "soft", "depth": int64(3)}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestBindRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given map[string]any
		want  string
	}{
		"unknown":       {map[string]any{"whom": "ann"}, `x.act has no parameter "whom"; it takes who, mode, depth, force, keep, ports, labels, at`},
		"missing":       {nil, `x.act needs the parameter "who": whom to act on`},
		"nothing":       {map[string]any{"who": nil}, `x.act needs the parameter "who": whom to act on`},
		"empty":         {map[string]any{"who": ""}, `x.act: parameter "who": is empty`},
		"not text":      {map[string]any{"who": 7}, `x.act: parameter "who": is the number 7, not text`},
		"a time":        {map[string]any{"who": time.Time{}}, `x.act: parameter "who": is a time.Time, not text`},
		"not listed":    {map[string]any{"who": "a", "mode": "rough"}, `x.act: parameter "mode": "rough" is not one of soft, hard`},
		"fraction":      {map[string]any{"who": "a", "depth": 1.5}, `x.act: parameter "depth": is the number 1.5, not a whole number`},
		"too large":     {map[string]any{"who": "a", "depth": 1e300}, `x.act: parameter "depth": is the number 1e+300, not a whole number`},
		"number's text": {map[string]any{"who": "a", "depth": "1"}, `x.act: parameter "depth": is text, not a whole number`},
		"truth's text":  {map[string]any{"who": "a", "force": "true"}, `x.act: parameter "force": is text, not true or false`},
		"truth":         {map[string]any{"who": true}, `x.act: parameter "who": is true or false, not text`},
		"duration":      {map[string]any{"who": "a", "keep": "1 day"}, `x.act: parameter "keep": time: unknown unit " day" in duration "1 day"`},
		"no list":       {map[string]any{"who": "a", "ports": "22"}, `x.act: parameter "ports": is text, not a list of texts`},
		"list's item":   {map[string]any{"who": "a", "ports": []any{"22", nil}}, `x.act: parameter "ports": item 1 is nothing, not text`},
		"no mapping":    {map[string]any{"who": "a", "labels": []string{"a"}}, `x.act: parameter "labels": is a list, not a mapping`},
		"mapping":       {map[string]any{"who": map[string]any{}}, `x.act: parameter "who": is a mapping, not text`},
		"output's type": {map[string]any{"who": "a", "at": "2026-03-04T12:00:00Z"}, `x.act: parameter "at": has the type "time", which no parameter can have`},
	} {
		got, err := action.Bind(spec(), test.given)
		if err == nil || err.Error() != test.want || !fault.Is(err, fault.Invalid) || got != nil {
			t.Errorf("%s: got %v, %v (%s); want %s", name, got, err, fault.KindOf(err), test.want)
		}
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		was, is string
		want    []action.Difference
	}{
		"nothing":           {``, ``, nil},
		"the same":          {`{"a":[1,{"b":null}]}`, "{ \"a\": [1, {\"b\": null}] }", nil},
		"null and absent":   {`{"a":null,"b":1}`, `{"b":1}`, []action.Difference{{"a", "null", ""}}},
		"empty and absent":  {`{"a":"","b":1}`, `{"b":1}`, []action.Difference{{"a", `""`, ""}}},
		"empty and null":    {`{"a":""}`, `{"a":null}`, []action.Difference{{"a", `""`, "null"}}},
		"order of keys":     {`{"a":1,"b":2}`, `{"b":2,"a":1}`, nil},
		"order of items":    {`["a","b"]`, `["b","a"]`, []action.Difference{{"[0]", "a", "b"}, {"[1]", "b", "a"}}},
		"changed":           {`{"a":{"b":"x"}}`, `{"a":{"b":"y"}}`, []action.Difference{{"a.b", "x", "y"}}},
		"gone":              {`{"a":"x","b":true}`, `{"a":"x"}`, []action.Difference{{"b", "true", ""}}},
		"new":               {``, `{"a":[1.5]}`, []action.Difference{{"a[0]", "", "1.5"}}},
		"another type":      {`{"a":{"b":1}}`, `{"a":[1]}`, []action.Difference{{"a.b", "1", ""}, {"a[0]", "", "1"}}},
		"a number's text":   {`{"a":1}`, `{"a":"1"}`, []action.Difference{{"a", "1", `"1"`}}},
		"emptied":           {`{"a":["x"]}`, `{"a":[]}`, []action.Difference{{"a", "", "[]"}, {"a[0]", "x", ""}}},
		"null and empty":    {`{"a":null}`, `{"a":{}}`, []action.Difference{{"a", "", "{}"}}},
		"a scalar":          {`1`, `2`, []action.Difference{{"", "1", "2"}}},
		"large numbers":     {`{"a":9007199254740992}`, `{"a":9007199254740993}`, []action.Difference{{"a", "9007199254740992", "9007199254740993"}}},
		"sorted":            {`{"c":1,"a":1,"b":1}`, `{}`, []action.Difference{{"", "", "{}"}, {"a", "1", ""}, {"b", "1", ""}, {"c", "1", ""}}},
		"what is no JSON":   {`{`, `{"a":1}`, []action.Difference{{"a", "", "1"}}},
		"a key with a dot":  {`{"a.b":1}`, `{"a.b":2}`, []action.Difference{{"a.b", "1", "2"}}},
		"an empty key":      {`{"":1}`, `{"":2}`, []action.Difference{{"", "1", "2"}}},
		"an empty text":     {`{"a":""}`, `{"a":"x"}`, []action.Difference{{"a", "", "x"}}},
		"text and no value": {`{"a":"null"}`, `{"a":null}`, []action.Difference{{"a", "null", ""}}},
	} {
		got := action.Differences(json.RawMessage(test.was), json.RawMessage(test.is))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	many := make([]action.Difference, 11)
	for i := range many {
		many[i] = action.Difference{Path: "a", Was: "1", Is: "2"}
	}
	for name, test := range map[string]struct {
		given []action.Difference
		want  string
	}{
		"none":   {nil, ""},
		"one":    {[]action.Difference{{"a.b", "x", ""}}, `a.b was "x", is absent`},
		"two":    {[]action.Difference{{"a", "", "y"}, {"b", "1", "2"}}, `a was absent, is "y"; b was "1", is "2"`},
		"many":   {many, strings.Repeat(`a was "1", is "2"; `, 8) + "and 3 more"},
		"hidden": {[]action.Difference{{"a", "x\n\x1b[2J", "y"}}, `a was "x\n\x1b[2J", is "y"`},
		"long":   {[]action.Difference{{"a", strings.Repeat("x", 200), "y"}}, `a was "` + strings.Repeat("x", 120) + `...", is "y"`},
	} {
		if got := action.Describe(test.given); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	for effect, want := range map[action.Effect]bool{
		action.Read: false, action.Notify: false, action.Contain: true, action.Destroy: true, "": true, "reads": true,
	} {
		if effect.Changes() != want {
			t.Errorf("%q changes: %t, want %t", effect, effect.Changes(), want)
		}
	}
}
