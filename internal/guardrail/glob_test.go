package guardrail_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/riposte-sec/riposte/internal/guardrail"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a/b:c", true},
		{"**", "", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"a*", "a", true},
		{"a*", "ba", false},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"ab*bc", "abc", false},
		{"ab*bc", "abbc", true},
		{"a*b*c", "axbxc", true},
		{"a*b*c", "axcxb", false},
		{"a*b*c", "abcbc", true},
		{"*a*a*", "a", false},
		{"*ab*ab*", "abab", true},
		{"a.c", "abc", false},
		{"a?c", "abc", false},
		{"[a]", "a", false},
		{"guardduty:UnauthorizedAccess:IAMUser/*", "guardduty:UnauthorizedAccess:IAMUser/TorIPCaller", true},
		{"arn:aws:sts::*:assumed-role/riposte/*", "arn:aws:sts::111122223333:assumed-role/riposte/i-1", true},
		{"arn:aws:sts::*:assumed-role/riposte/*", "arn:aws:sts::111122223333:assumed-role/riposte2/i-1", false},
		{"ü*", "über", true},
	} {
		if got := guardrail.Glob(test.pattern, test.text); got != test.want {
			t.Errorf("Glob(%q, %q) = %t, want %t", test.pattern, test.text, got, test.want)
		}
	}
}

// A pattern against a text made to try every way takes no longer than a few passes over the text.
func TestGlobIsBounded(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 1<<20)
	if guardrail.Glob(strings.Repeat("a*", 1000)+"b", text) {
		t.Error("matched a text without a b")
	}
}

// FuzzGlob compares with the regular expression that a pattern stands for.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"*", "x"}, {"a*b*a", "aba"}, {"ab*bc", "abc"}, {"*\n*", "a\nb"}, {"a.*", "ab"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(text) {
			t.Skip("a regular expression takes every invalid byte for the same letter")
		}
		parts := strings.Split(pattern, "*")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		same, err := regexp.Compile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		if err != nil {
			t.Skip("no regular expression can say it: ", err)
		}
		if got, want := guardrail.Glob(pattern, text), same.MatchString(text); got != want {
			t.Errorf("Glob(%q, %q) = %t, the regular expression says %t", pattern, text, got, want)
		}
		if !guardrail.Glob(text, text) && !strings.Contains(text, "*") {
			t.Errorf("%q does not match itself", text)
		}
		if guardrail.Glob(pattern, text) && !guardrail.Glob("*"+pattern+"*", "x"+text+"y") {
			t.Errorf("%q matches %q, and is not found within a longer text", pattern, text)
		}
	})
}
