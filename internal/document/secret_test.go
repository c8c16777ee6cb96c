package document_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/secret"
)

type safe struct {
	Plain secret.Secret            `yaml:"plain"`
	File  secret.Secret            `yaml:"file"`
	Env   secret.Secret            `yaml:"env"`
	None  secret.Secret            `yaml:"none"`
	Named map[string]secret.Secret `yaml:"named"`
}

func lookup(name string) (string, bool) {
	text, set := map[string]string{"TOKEN": "from env"}[name]
	return text, set
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "plain: 012\nfile: {file: token}\nenv: {env: TOKEN}\nnone:\nnamed:\n  a: {env: TOKEN}\n"
	doc, err := document.Parse(filepath.Join(dir, "riposte.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var s safe
	if err := doc.Decode(&s); err != nil {
		t.Fatal(err)
	}
	warnings, err := doc.Resolve(lookup)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0].Key != "plain" || warnings[0].Line != 1 {
		t.Errorf("warnings = %v, want one, of plain", warnings)
	}
	got := map[string]string{
		"plain": s.Plain.Reveal(), "file": s.File.Reveal(), "env": s.Env.Reveal(), "named": s.Named["a"].Reveal(),
	}
	want := map[string]string{"plain": "012", "file": "from file", "env": "from env", "named": "from env"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !s.None.IsZero() {
		t.Error("a key with nothing in it made a secret")
	}
}

func TestSecretsThatAreNotThere(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain: a\nenv: {env: NOPE}":       "test.yaml:2: env: the environment variable NOPE is not set",
		"file: {file: absent}":             "test.yaml:1: file: read secret: open absent",
		"file: {}":                         "test.yaml:1: file: a secret is written {file: path} or {env: NAME}",
		"file: {file: a, env: B}":          "test.yaml:1: file: a secret is written",
		"file: {path: hunter2}":            "test.yaml:1: file.path: there is no such key",
		"named: {a: [hunter2]}":            "named.a: is a list, not a mapping",
		"named:\n  a: {env: {b: hunter2}}": "test.yaml:2: named.a.env: is a mapping, not text",
	} {
		doc, err := document.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var s safe
		if err = doc.Decode(&s); err == nil {
			_, err = doc.Resolve(lookup)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %q and no secret", text, err, want)
		}
	}
}
