package coverage_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/coverage"
	"github.com/riposte-sec/riposte/sigma"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	noon       = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	cloudTrail = sigma.LogSource{Product: "aws", Service: "cloudtrail", Definition: "every region"}
	kubernetes = sigma.LogSource{Product: "kubernetes", Service: "audit"}
)

// input has each kind of rule once.
func input() coverage.Input {
	return coverage.Input{
		Rules: []coverage.Rule{
			{
				Name: "trail-stopped", Title: "Trail stopped", Tested: true, Needs: []sigma.LogSource{cloudTrail},
				Tags: []string{"attack.defense-evasion", "attack.T1562.008", "attack.g0016", "attack.t1562.008", "cve.2021.44228"},
			},
			{Name: "trail-weakened", Title: "Trail | weakened\n<b>", Tags: []string{"attack.defense_evasion", "attack.t1562.008"}, Needs: []sigma.LogSource{cloudTrail}},
			{
				Name: "pod-made", Title: "Pod made", Tags: []string{"attack.execution", "attack.t1610"}, Tested: true,
				Needs: []sigma.LogSource{kubernetes},
			},
			{
				Name: "both", Title: "Over both", Tags: []string{"attack.execution", "attack.persistence", "attack.t1610", "attack.t1098"},
				Needs: []sigma.LogSource{cloudTrail, kubernetes, cloudTrail},
			},
			{Name: "untagged", Title: "No technique", Tags: []string{"attack.impact"}, Needs: []sigma.LogSource{{Category: "process_creation"}}},
			{Name: "stealth", Title: "A tactic of another year", Tags: []string{"attack.stealth", "attack.t9999"}},
		},
		Playbooks: []coverage.Playbook{
			{Name: "restore-trail", Findings: []string{"guardduty:*", "rule:trail-stopped"}},
			{Name: "any-trail", Findings: []string{"rule:trail-*"}},
			{Name: "other", Findings: []string{"rule:other", "trail-stopped"}},
		},
		Sources: []coverage.Source{
			{LogSource: cloudTrail, Latest: noon.Add(-time.Hour)},
			{LogSource: kubernetes, Latest: noon.AddDate(0, 0, -30)},
		},
		Since: noon.AddDate(0, 0, -7),
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	report := coverage.Of(input())
	heard := map[string]coverage.Heard{}
	for _, one := range report.Techniques {
		heard[one.ID] = one.Heard
	}
	want := map[string]coverage.Heard{"T1562.008": coverage.Yes, "T1610": coverage.Silent, "T1098": coverage.Silent, "T9999": coverage.Yes}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("log sources (-want +got):\n%s", diff)
	}
	tactics := []coverage.Tactic{
		{Name: "execution", Techniques: 2, Tested: 1},
		{Name: "persistence", Techniques: 2, Tested: 1},
		{Name: "defense-evasion", Techniques: 1, Tested: 1, Answered: 1, Heard: 1},
		{Name: "stealth", Techniques: 1, Heard: 1},
	}
	if diff := cmp.Diff(tactics, report.Tactics); diff != "" {
		t.Errorf("tactics (-want +got):\n%s", diff)
	}
	sources := []coverage.Needed{
		{Name: "aws/cloudtrail", Rules: 3, Heard: coverage.Yes, Latest: noon.Add(-time.Hour)},
		{Name: "kubernetes/audit", Rules: 2, Heard: coverage.Silent, Latest: noon.AddDate(0, 0, -30)},
		{Name: "*/*/process_creation", Rules: 1, Heard: coverage.Silent},
	}
	if diff := cmp.Diff(sources, report.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"untagged"}, report.Untagged); diff != "" {
		t.Errorf("untagged (-want +got):\n%s", diff)
	}
}

// TestUnknown checks that nothing is said of log sources if nobody knows, which is not the same as none.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]coverage.Heard{"nobody knows": coverage.Unknown, "none was heard of": coverage.Silent} {
		in := input()
		in.Sources = nil
		if want == coverage.Silent {
			in.Sources = []coverage.Source{}
		}
		for _, source := range coverage.Of(in).Sources {
			if source.Heard != want {
				t.Errorf("%s: %s is %s, want %s", name, source.Name, source.Heard, want)
			}
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	report := coverage.Of(input())
	layer, err := report.Navigator()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"layer.json": string(layer), "report.json": string(plain) + "\n", "page.md": report.Markdown(), "empty.md": markdownOfNothing(),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs; if it is right, run with -update (-want +got):\n%s", name, diff)
		}
	}
}

func markdownOfNothing() string {
	report := coverage.Of(coverage.Input{})
	return report.Markdown()
}

// TestLayerIsOfItsFormat checks what version 4.5 of the format asks for, beyond what the types say.
func TestLayerIsOfItsFormat(t *testing.T) {
	t.Parallel()
	report := coverage.Of(input())
	text, err := report.Navigator()
	if err != nil {
		t.Fatal(err)
	}
	var layer struct {
		Name, Domain string
		Versions     struct{ Layer, Navigator string }
		Gradient     struct {
			Colors             []string
			MinValue, MaxValue int
		}
		Techniques []struct {
			TechniqueID string
			Score       int
		}
	}
	if err := json.Unmarshal(text, &layer); err != nil {
		t.Fatal(err)
	}
	if layer.Name == "" || layer.Domain != "enterprise-attack" || layer.Versions.Layer != "4.5" || layer.Versions.Navigator < "4.9.0" {
		t.Errorf("the layer begins with %+v", layer)
	}
	if len(layer.Gradient.Colors) < 2 || layer.Gradient.MaxValue <= layer.Gradient.MinValue {
		t.Errorf("the gradient is %+v", layer.Gradient)
	}
	for _, one := range layer.Techniques {
		if one.Score < layer.Gradient.MinValue+1 || one.Score > layer.Gradient.MaxValue {
			t.Errorf("%s has the score %d", one.TechniqueID, one.Score)
		}
	}
}
