package expr_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
)

func scope() expr.Scope {
	return expr.Scope{
		expr.Finding: expr.ViewFinding(&finding.Finding{
			Title: "{{ finding.account }}", Severity: finding.High, Account: "111122223333",
			Entities: []entity.Entity{
				{Kind: entity.IP, ID: "198.51.100.7", Part: entity.Origin},
				{Kind: entity.AccessKey, ID: "AKIAEXAMPLE", Part: entity.Target},
			},
		}),
		expr.Incident: map[string]any{"id": "01J"},
		expr.Steps:    map[string]any{"who": map[string]any{"user": "alice", "is_root": false, "keys": []any{"a", "b"}}},
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`finding.severity >= HIGH && finding.has("access_key")`: true,
		`finding.has("instance")`:                               false,
		`finding.access_key`:                                    "AKIAEXAMPLE",
		`steps.who.user + "@" + finding.account`:                "alice@111122223333",
		`steps.who.is_root || finding.severity == CRITICAL`:     false,
		`steps.who.keys.exists(k, k == "b")`:                    true,
		`steps.who.keys`:                                        []any{"a", "b"},
		`finding.?instance.orValue("none")`:                     "none",
		`finding.entities.filter(e, e.part == "origin")[0].id`:  "198.51.100.7",
	} {
		compiled, err := expr.Compile(text)
		if err != nil {
			t.Errorf("compile %s: %v", text, err)
			continue
		}
		got, err := compiled.Value(t.Context(), scope())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", text, diff)
		}
	}
}

func TestMissingDataIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`finding.instance == ""`, `steps.nobody.user == "x"`, `finding.instance != "i-1"`} {
		compiled, err := expr.CompileBool(text)
		if err != nil {
			t.Fatalf("compile %s: %v", text, err)
		}
		if got, err := compiled.True(t.Context(), scope()); err == nil {
			t.Errorf("%s = %v, want an error", text, got)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`finding.`, `findings.severity`, `finding.severity +`, `1 + "a"`, strings.Repeat("a", 5000)} {
		if _, err := expr.Compile(text); err == nil {
			t.Errorf("compile %q: no error", text[:min(len(text), 40)])
		}
	}
	if _, err := expr.CompileBool(`"text"`); err == nil {
		t.Error("a condition that is a string was taken")
	}
}

func TestCostIsBounded(t *testing.T) {
	t.Parallel()
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + "]"
	compiled, err := expr.Compile(list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c > 0)))")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compiled.Value(t.Context(), scope()); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("error %v, want one about cost", err)
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`Key {{ finding.access_key }} of {{ steps.who.user }}`: "Key AKIAEXAMPLE of alice",
		`{{ steps.who.keys }}`:                                 []any{"a", "b"},
		`keys: {{ steps.who.keys }}`:                           "keys: a, b",
		`plain`:                                                "plain",
		`title: {{ finding.title }}`:                           "title: {{ finding.account }}", // values aren't parsed
	} {
		compiled, err := expr.CompileTemplate(text)
		if err != nil {
			t.Errorf("compile %s: %v", text, err)
			continue
		}
		got, err := compiled.Value(t.Context(), scope())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", text, diff)
		}
	}
	if _, err := expr.CompileTemplate("{{ finding.id"); err == nil {
		t.Error("an open template was taken")
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	compiled, err := expr.Compile(`finding.severity > LOW && steps.who.keys.exists(k, k == finding.reference.id)`)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"finding", "severity"}, {"steps", "who", "keys"}, {"finding", "reference", "id"}}
	if diff := cmp.Diff(want, compiled.Paths()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(`a {{ finding.id }} b {{ "}" }}`)
	f.Add(`{{ {} }}`)
	f.Fuzz(func(t *testing.T, text string) {
		compiled, err := expr.CompileTemplate(text)
		if err != nil {
			return
		}
		_, _ = compiled.Value(t.Context(), scope())
	})
}
