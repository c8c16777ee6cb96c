package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

type settings struct {
	Name    string        `yaml:"name"`
	Every   time.Duration `yaml:"every"`
	Token   secret.Secret `yaml:"token"`
	Another secret.Secret `yaml:"another"`
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	t.Setenv("RIPOSTE_TEST_TOKEN", "from the environment")
	path := write(t, "riposte.yaml", "every: 5m\ntoken: {file: token}\nanother: {env: RIPOSTE_TEST_TOKEN}\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "token"), []byte("from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings{Name: "a default", Every: time.Hour}
	warnings, err := config.Read(path, &s)
	if err != nil || len(warnings) != 0 {
		t.Fatal(warnings, err)
	}
	if s.Name != "a default" || s.Every != 5*time.Minute || s.Token.Reveal() != "from the file" || s.Another.Reveal() != "from the environment" {
		t.Errorf("got %+v", s)
	}
}

func TestPlainSecretsAreWarnedOf(t *testing.T) {
	t.Parallel()
	path := write(t, "riposte.yaml", "name: x\ntoken: hunter2\n")
	var s settings
	warnings, err := config.Read(path, &s)
	if err != nil || len(warnings) != 1 || warnings[0].Key != "token" || warnings[0].Line != 2 || s.Token.Reveal() != "hunter2" {
		t.Errorf("got %v, %v", warnings, err)
	}
	if len(warnings) > 0 && strings.Contains(warnings[0].Error(), "hunter2") {
		t.Errorf("the warning tells the secret: %v", warnings[0])
	}
}

func TestErrorsSayWhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":        {"nme: x\n", `:1: nme: there is no such key; did you mean "name"?`},
		"wrong type":         {"name: x\nevery: soon\n", ":2: every: "},
		"syntax":             {"name: [\n", ":1: "},
		"empty":              {"", ": there is nothing in the file"},
		"no such file":       {"token: {file: nowhere}\n", ":1: token: "},
		"no such variable":   {"token: {env: RIPOSTE_TEST_NOT_THERE}\n", ":1: token: "},
		"too large":          {"name: x # " + strings.Repeat("x", 1<<20) + "\n", ""},
		"not text":           {"name: \"\xff\"\n", ""},
		"a second document":  {"name: x\n---\nname: y\n", "a second document"},
		"twice the same key": {"name: x\nname: y\n", "stands already at line 1"},
	} {
		path := write(t, "riposte.yaml", test.text)
		var s settings
		_, err := config.Read(path, &s)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %.200v (%s), want %s", name, err, fault.KindOf(err), test.want)
		}
	}
}

func TestFilesThatCantBeRead(t *testing.T) {
	t.Parallel()
	var s settings
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := config.Read(path, &s); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v, want NotFound with what to do", err)
	}
	if _, err := config.Read(t.TempDir(), &s); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v of a folder, want Invalid", err)
	}
}

func TestEnv(t *testing.T) {
	t.Setenv("RIPOSTE_TEST_SET", "x")
	t.Setenv("RIPOSTE_TEST_EMPTY", "")
	for name, want := range map[string]string{"RIPOSTE_TEST_SET": "x", "RIPOSTE_TEST_EMPTY": "otherwise", "RIPOSTE_TEST_NOT_THERE": "otherwise"} {
		if got := config.Env(name, "otherwise"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
