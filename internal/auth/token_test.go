package auth_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/auth"
)

func TestGenerate(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^rip_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 200 {
		token, hash := generate(t)
		if !form.MatchString(token) || len(hash) != 64 || hash != auth.Hash(token) || seen[token] {
			t.Fatalf("got %q with the hash %q", token, hash)
		}
		if err := auth.CheckForm(token); err != nil {
			t.Errorf("%q: %v", token, err)
		}
		seen[token] = true
	}
}

func TestOneWrongCharacterIsSeen(t *testing.T) {
	t.Parallel()
	token, _ := generate(t)
	for i := range len(token) {
		for _, c := range "aZ0_ \x00é" {
			wrong := token[:i] + string(c) + token[i+1:]
			if wrong != token && auth.CheckForm(wrong) == nil {
				t.Errorf("%q passes for %q", wrong, token)
			}
		}
		if i > 0 && auth.CheckForm(token[:i]) == nil {
			t.Errorf("%q passes", token[:i])
		}
	}
}

func FuzzCheckForm(f *testing.F) {
	token, _, err := auth.Generate()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{token, "", "rip_", token[4:], token + "0", strings.ToUpper(token), "rip_" + strings.Repeat("0", 49)} {
		f.Add(seed)
	}
	k, err := auth.New(auth.Config{Tokens: []auth.Token{{Name: "ann", SHA256: auth.Hash(token), Roles: []auth.Role{auth.Admin}}}}, newClock().Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := auth.CheckForm(text)
		if err == nil && (len(text) != 53 || !strings.HasPrefix(text, "rip_")) {
			t.Errorf("%q passes", text)
		}
		if err != nil && len(text) > 12 && strings.Contains(err.Error(), text) {
			t.Errorf("the error tells the text: %v", err)
		}
		if _, err := k.Who(request("192.0.2.1:1", "Bearer "+text)); (err == nil) != (text == token) {
			t.Errorf("%q: got %v", text, err)
		}
	})
}
