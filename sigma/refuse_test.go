package sigma_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func TestRefusedValues(t *testing.T) {
	for _, c := range []struct{ item, problem string }{
		{`a|foo: x`, `modifier "foo" is unknown`},
		{`a|: x`, `modifier "" is unknown`},
		{`a|all|all: x`, `modifier "all" is given twice`},
		{`a|contains|startswith: x`, `modifiers "contains" and "startswith" exclude each other`},
		{`a|lt|gt: 1`, `exclude each other`},
		{`a|i: x`, `modifier "i" must come after re`},
		{`a|contains|base64: x`, `modifier "base64" must come before "contains"`},
		{`a|hour|day: 1`, `modifiers "hour" and "day" exclude each other`},
		{`a|exists|all: true`, `stands alone`},
		{`a|exists: yes-please`, `needs true or false`},
		{`a|exists: [true, false]`, `takes one value`},
		{`a|fieldref|re: x`, `fieldref takes none but`},
		{`a|fieldref: ''`, `needs the name of a field`},
		{`a|fieldref: 3`, `can't be used with "fieldref"`},
		{`a|hour|contains: 1`, `"hour" takes none but`},
		{`a|hour: 24`, `hour must be a whole number from 0 to 23`},
		{`a|minute: 1.5`, `minute must be a whole number`},
		{`a|week: noon`, `needs a number`},
		{`a|lt: '5'`, `needs a number, not the text "5"`},
		{`a|lt: null`, `null can't be used with "lt"`},
		{`a|lt: true`, `true and false can't be used with "lt"`},
		{`a|lt|cased: 5`, `compares numbers`},
		{`a|re|cased: x`, `takes none that changes text`},
		{`a|re: 5`, `a number can't be used with "re"`},
		{`a|re: '(?=x)'`, `look-around`},
		{`a|re: '(?<!x)y'`, `look-around`},
		{`a|re: '(a)\1'`, `back reference`},
		{`a|re: '('`, `can't be read`},
		{`a|cidr: 10.*`, `is not a network`},
		{`a|contains: null`, `null can't be used with "contains"`},
		{`a|base64: 'x*'`, `wildcards can't be encoded`},
		{`a|base64offset|contains: ''`, `too short for base64offset`},
		{`a|expand: '%nobody%'`, `placeholder %nobody% has no value`},
		{`a: []`, `has no values`},
		{`a: {b: c}`, `not a mapping`},
		{`a: [[b]]`, `not a list`},
		{`a: .inf`, `not a number that a rule can use`},
		{`a: !!binary eA==`, `tag !!binary`},
		{"a: &x 1\nb: *x", `alias`},
		{"a: 1\na: 2", `is given twice`},
		{"<<: {a: 1}", `merge`},
		{"? [a]\n: 1", `a key must be plain text`},
		{`'|lt': 1`, `need a field`},
		{`'|exists': true`, `need a field`},
		{`[]`, `selects nothing`},
		{`{}`, `selects nothing`},
		{`null`, `null can't be used`},
		{`- [a]`, `not a list`},
	} {
		t.Run(c.item, func(t *testing.T) {
			_, err := sigma.Parse("rule.yml", []byte(ruleText("s:\n"+indented(c.item)+"condition: s")))
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Fatalf("got %v, want %q", err, c.problem)
			}
			if mistake := asError(t, err); mistake.File != "rule.yml" || mistake.Line < 4 || !strings.HasPrefix(mistake.Key, "detection.s") {
				t.Errorf("got %+v, want a file, a line and a key", mistake)
			}
		})
	}
}

func TestRefusedConditions(t *testing.T) {
	for _, c := range []struct{ condition, problem string }{
		{"t", `selection "t" is not defined`},
		{"s and", "ends where a selection is expected"},
		{"''", "ends where a selection is expected"},
		{"s s", `expected and or or before "s"`},
		{"(s", "a parenthesis is not closed"},
		{"s)", `before ")"`},
		{"2 of s*", `quantifier "2" is none of 1, any, all`},
		{"1 of", "1 of what?"},
		{"all of x*", `no selection is named like "x*"`},
		{"s | count() > 5", "counting needs a correlation"},
		{"5", "must be text, not a number"},
		{"[]", "is empty"},
		{strings.Repeat("not ", 200) + "s", "nested deeper than 100"},
		{strings.Repeat("(", 200) + "s", "nested deeper than 100"},
		{strings.Repeat("s or ", 4000) + "s", "longer than"},
	} {
		_, err := sigma.Parse("rule.yml", []byte(ruleText("s: {a: 1}\ncondition: "+c.condition)))
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%.40s: got %v, want %q", c.condition, err, c.problem)
			continue
		}
		if got := asError(t, err).Key; got != "detection.condition" {
			t.Errorf("%.40s: key %q", c.condition, got)
		}
	}
}

func TestRefusedDocuments(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"correlation":  {"title: C\ncorrelation:\n  type: event_count\n", "rule.yml:2: correlation: a correlation is not a detection; it can't be read as one"},
		"filter":       {"title: F\nlogsource: {product: aws}\nfilter:\n  rules: [x]\n", "rule.yml:3: filter: a filter is not a detection; it can't be read as one"},
		"collection":   {"action: global\n", "rule.yml:1: action: rule collections by action belong to Sigma 1; write each rule out"},
		"not yaml":     {"title: [x\nid: y\n", "rule.yml:1: is not YAML: "},
		"a list":       {"- a\n", "rule.yml:1: is not a mapping of keys to values"},
		"empty":        {"# nothing\n---\n", "rule.yml: holds no rule"},
		"no title":     {"logsource: {product: aws}\ndetection: {s: {a: 1}, condition: s}\n", "rule.yml:1: title: is missing"},
		"no detection": {"title: T\nlogsource: {product: aws}\n", "rule.yml:1: detection: is missing"},
		"no condition": {"title: T\nlogsource: {product: aws}\ndetection: {s: {a: 1}}\n", "rule.yml:3: detection.condition: is missing"},
		"timeframe":    {"title: T\nlogsource: {product: aws}\ndetection: {s: {a: 1}, timeframe: 5m, condition: s}\n", "rule.yml:3: detection.timeframe: belongs to Sigma 1"},
		"no source":    {"title: T\nlogsource: {definition: x}\ndetection: {s: {a: 1}, condition: s}\n", "rule.yml:2: logsource: needs a category, a product or a service"},
		"level":        {"title: T\nlevel: huge\nlogsource: {product: aws}\ndetection: {s: {a: 1}, condition: s}\n", "rule.yml:2: level: \"huge\" is none of informational, low, medium, high, critical"},
		"taxonomy":     {"title: T\ntaxonomy: ecs\nlogsource: {product: aws}\ndetection: {s: {a: 1}, condition: s}\n", "rule.yml:2: taxonomy: \"ecs\" is none of sigma"},
		"type":         {"title: {a: b}\nlogsource: {product: aws}\ndetection: {s: {a: 1}, condition: s}\n", "rule.yml:1: title: must be text, not a mapping"},
		"second":       {"title: T\r---\rtitle: U\r", "rule.yml:2: a further document begins without ---"},
		"long":         {strings.Repeat("#", 1<<20+1), "rule.yml: longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := sigma.Parse("rule.yml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if len(rules) > 0 {
				t.Errorf("got %d rules beside the error", len(rules))
			}
		})
	}
}

func TestSeveralMistakesAndDocuments(t *testing.T) {
	good := ruleText("s: {a: 1}\ncondition: s")
	text := "# comment\n" + good + "--- # second\n" + ruleText("s: {a|x: 1, b|y: 2}\ncondition: t") + "---\n" + strings.Replace(good, "id: r", "id: q", 1)
	rules, err := sigma.Parse("rule.yml", []byte(text))
	if err == nil {
		t.Fatal("got no error")
	}
	want := []string{
		`rule.yml:13: detection.s.a|x: modifier "x" is unknown`,
		`rule.yml:13: detection.s.b|y: modifier "y" is unknown`,
		`rule.yml:14: detection.condition: selection "t" is not defined`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("errors differ (-want +got):\n%s", diff)
	}
	type placed struct {
		ID   string
		Line int
	}
	var got []placed
	for _, r := range rules {
		got = append(got, placed{r.ID, r.Line})
	}
	if diff := cmp.Diff([]placed{{"r", 2}, {"q", 16}}, got); diff != "" {
		t.Errorf("rules differ (-want +got):\n%s", diff)
	}
	if rules[0].Hash == rules[1].Hash || len(rules[0].Hash) != 64 {
		t.Errorf("hashes %q and %q", rules[0].Hash, rules[1].Hash)
	}
}
