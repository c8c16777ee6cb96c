package cacao_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/cacao"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/playbook"
)

const samples = "../../../shared/data/cacao"

var update = flag.Bool("update", false, "write the playbook as it is")

// odd has what is easily lost: values of several types, texts that look like something else, empty branches.
const odd = `playbook: odd
summary: "yes"
description: |
  Line one: # no comment
  line two
on: {findings: ["rule:*"], if: "true"}
autonomy: auto
allow_destroy: [aws.ec2.terminate_instance]
limits: {percent: 2.5, per_hour: 3}
inputs: {depth: {type: int, default: 3}, "name": {type: string, default: "007"}}
steps:
  - set: {a: "no", b: 1.0, c: 1, d: [true, null, "1", {e: "2024-01-01"}], f: "{{ finding.id }}"}
  - switch: finding.title
    cases:
      - {is: ["1", 1, 1.0, default, "<x>"], steps: [{fail: "no"}]}
      - {is: "1", steps: []}
      - {is: true, steps: [{wait: 1m}]}
  - if: "true"
    steps: [{fail: "one"}]
  - {id: alone, parallel: [{fail: x, if: "false", on_error: continue}]}
  - steps:
      - {use: notify, with: {channel: a, message: "x: {{ finding.title }}"}, if: 'finding.title != "a"', on_error: [{fail: b}], retry: {times: 0}}
    on_error: [{wait: 1h}]
  - {call: other, with: {x: 1}, on_error: continue}
finally:
  - {wait: 5m}
`

func at(t *testing.T) time.Time {
	t.Helper()
	return time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
}

// books are the playbooks that are shipped, and those that hold everything.
func books(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"odd.yaml": []byte(odd)}
	files, err := fs.Glob(content.Files, "playbooks/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d shipped playbooks, %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		if all[file], err = fs.ReadFile(content.Files, file); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"everything.yaml", "helper.yaml"} {
		if all[file], err = os.ReadFile("../playbook/graph/testdata/" + file); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func exported(t *testing.T, file string, text []byte) []byte {
	t.Helper()
	p, err := playbook.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cacao.Export(p, cacao.About{Actions: app.AllSpecs(app.Defaults()), Time: at(t), Severity: 70, Labels: []string{"attack.t1078"}})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	out, err := f.Write()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func plain(t *testing.T, text []byte) map[string]any {
	t.Helper()
	doc, err := document.Parse("a.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var read map[string]any
	if err := doc.Decode(&read); err != nil {
		t.Fatal(err)
	}
	return read
}

// What is exported and imported again is the same playbook, key by key and value by value.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for file, text := range books(t) {
		out := exported(t, file, text)
		if !bytes.Equal(out, exported(t, file, text)) {
			t.Errorf("%s: exported another way the second time", file)
		}
		f, err := cacao.Read(out)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		back, _, err := cacao.Import(f)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
			continue
		}
		if diff := cmp.Diff(plain(t, text), plain(t, back)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", file, diff)
		}
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("no schemas of CACAO here: %v", err)
	}
	c := jsonschema.NewCompiler()
	err := filepath.WalkDir(samples+"/schemas", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		parsed, err := jsonschema.UnmarshalJSON(file)
		if err != nil {
			return err
		}
		return c.AddResource(parsed.(map[string]any)["$id"].(string), parsed)
	})
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("https://raw.githubusercontent.com/oasis-open/cacao-json-schemas/main/schemas/playbook.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestExportIsCACAO(t *testing.T) {
	t.Parallel()
	s := schema(t)
	for file, text := range books(t) {
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(exported(t, file, text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(instance); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What others wrote is read, or refused for what is wrong with it.
func TestSamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(samples + "/playbooks/*.json")
	if err != nil || len(files) == 0 {
		t.Skipf("no samples of CACAO here: %v", err)
	}
	refused := map[string]string{
		"infinite":      "action--6b23",
		"missing_step":  "there is no such step",
		"parallels":     "workflow_exception",
		"invalid_email": "workflow_exception", "invalid": "workflow_exception", "changed": "", "playbook": "workflow_exception",
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "soarca-test-playbooks-"), ".json"), "_playbook")
		name = strings.TrimSuffix(name, "-playbook")
		f, err := cacao.Read(text)
		if want, is := refused[name]; is && want != "" || name == "changed" {
			if err == nil || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", file, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		out, lost, err := cacao.Import(f)
		if err != nil || len(lost) == 0 {
			t.Errorf("%s: %v, lost %q", file, err, lost)
		}
		if bytes.Contains(out, []byte("super-secure-password")) {
			t.Errorf("%s: a password is in the playbook:\n%s", file, out)
		}
	}
}

// Every way of a workflow that others made becomes a way of the playbook.
func TestImportOfForeign(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/foreign.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := cacao.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := cacao.Import(f)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/foreign.yaml", got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/foreign.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("look, and use -update: (-want +got)\n%s", diff)
	}
}

// changed is the foreign playbook with a change.
func changed(t *testing.T, change func(workflow, file map[string]any)) error {
	t.Helper()
	text, err := os.ReadFile("testdata/foreign.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	change(file["workflow"].(map[string]any), file)
	if text, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	_, err = cacao.Read(text)
	return err
}

func TestRefused(t *testing.T) {
	t.Parallel()
	id := func(kind, n string) string { return kind + "--00000000-0000-4000-8000-0000000000" + n }
	step := func(w map[string]any, id string) map[string]any { return w[id].(map[string]any) }
	for want, change := range map[string]func(w, file map[string]any){
		"workflow_start leads to":             func(_, file map[string]any) { file["workflow_start"] = "start--x" },
		"on_completion leads to":              func(w, _ map[string]any) { step(w, id("action", "02"))["on_completion"] = id("action", "99") },
		"in a loop that nothing ends":         func(w, _ map[string]any) { step(w, id("action", "02"))["on_completion"] = id("action", "02") },
		"is never reached":                    func(w, _ map[string]any) { w[id("end", "77")] = map[string]any{"type": "end"} },
		"stands in two branches":              func(w, _ map[string]any) { step(w, id("action", "05"))["on_completion"] = id("action", "06") },
		"leads nowhere":                       func(w, _ map[string]any) { delete(step(w, id("action", "02")), "on_completion") },
		"nothing comes after an end":          func(w, _ map[string]any) { step(w, id("end", "90"))["on_completion"] = id("end", "91") },
		"there is no type":                    func(w, _ map[string]any) { step(w, id("action", "02"))["type"] = "magic" },
		`version "cacao-3.0"`:                 func(_, file map[string]any) { file["spec_version"] = "cacao-3.0" },
		"its type is":                         func(_, file map[string]any) { file["type"] = "bundle" },
		"the agent \"nobody\" is not defined": func(w, _ map[string]any) { step(w, id("action", "02"))["agent"] = "nobody" },
	} {
		if err := changed(t, change); err == nil || !strings.Contains(err.Error(), want) || !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for want, text := range map[string]string{
		"more than 40 levels":  strings.Repeat("[", 100_000),
		"at most 1048576":      strings.Repeat(" ", 2<<20),
		"stands twice":         `{"type":"playbook","type":"playbook"}`,
		"this is no JSON":      `{"type" 1`,
		"this is no CACAO":     `[]`,
		"workflow_start leads": `{"type":"playbook","spec_version":"cacao-2.0"}`,
	} {
		if _, err := cacao.Read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzImport wants of every file a playbook that can be read, or an error that says what is wrong.
func FuzzImport(f *testing.F) {
	if text, err := os.ReadFile("testdata/foreign.json"); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := cacao.Read(text)
		if err == nil {
			_, _, err = cacao.Import(file)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("%v is of kind %s", err, fault.KindOf(err))
		}
	})
}
