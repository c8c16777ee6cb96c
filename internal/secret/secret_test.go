package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

const plain = "hunter2-correct-horse"

func TestNothingPrintsIt(t *testing.T) {
	t.Parallel()
	s := secret.New(plain)
	type holder struct {
		Open   secret.Secret
		Map    map[string]secret.Secret
		Ptr    *secret.Secret
		hidden secret.Secret
	}
	h := holder{Open: s, Map: map[string]secret.Secret{"a": s}, Ptr: &s, hidden: s}
	printed := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed["secret as "+verb] = fmt.Sprintf(verb, s)
		printed["pointer as "+verb] = fmt.Sprintf(verb, &s)
		printed["struct as "+verb] = fmt.Sprintf(verb, h)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	printed["JSON"] = string(text)
	if text, err = yaml.Marshal(map[string]any{"s": s, "p": &s}); err != nil {
		t.Fatal(err)
	}
	printed["YAML"] = string(text)
	var log bytes.Buffer
	for _, logger := range []*slog.Logger{slog.New(slog.NewJSONHandler(&log, nil)), slog.New(slog.NewTextHandler(&log, nil))} {
		logger.Info("x", "secret", s, "holder", h)
	}
	printed["log"] = log.String()
	for how, got := range printed {
		if strings.Contains(got, plain) || strings.Contains(got, fmt.Sprintf("%x", plain)) {
			t.Errorf("%s: got %s, want no secret in it", how, got)
		}
	}
	if got := fmt.Sprint(s); got != "[secret]" {
		t.Errorf("got %q, want [secret]", got)
	}
	if got := s.Reveal(); got != plain {
		t.Errorf("reveal = %q, want %q", got, plain)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	absolute := write("token", "from file\r\n")
	write("empty", "\n")
	write("large", strings.Repeat("x", 1<<17))
	lookup := func(name string) (string, bool) {
		text, set := map[string]string{"TOKEN": "from env", "EMPTY": ""}[name]
		return text, set
	}
	for name, test := range map[string]struct {
		secret secret.Secret
		want   string
		err    string
	}{
		"plain":          {secret.New("x"), "x", ""},
		"none":           {secret.Secret{}, "", ""},
		"relative file":  {secret.FromFile("token"), "from file", ""},
		"absolute file":  {secret.FromFile(absolute), "from file", ""},
		"absent file":    {secret.FromFile("absent"), "", "absent"},
		"empty file":     {secret.FromFile("empty"), "", "is empty"},
		"large file":     {secret.FromFile("large"), "", "too large"},
		"environment":    {secret.FromEnv("TOKEN"), "from env", ""},
		"unset variable": {secret.FromEnv("NOPE"), "", "NOPE is not set"},
		"empty variable": {secret.FromEnv("EMPTY"), "", "EMPTY is not set"},
	} {
		copied := test.secret
		err := copied.Resolve(dir, lookup)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: got error %v, want an invalid one with %q", name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := test.secret.Reveal(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestRevealUnresolvedPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("revealing an unresolved secret went on")
		}
	}()
	_ = secret.FromEnv("X").Reveal()
}
