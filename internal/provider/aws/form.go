package aws

import (
	"regexp"
	"sync"
)

// form is a regular expression that is compiled when it is first asked: there are many, with long repetitions, and
// most processes ask few.
type form struct {
	text string
	made func() *regexp.Regexp
}

// forms are all that there are, for the test that they are well written.
var forms []*form //nolint:gochecknoglobals // filled by the declarations

func shaped(text string) *form {
	made := &form{text: text, made: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
	forms = append(forms, made)
	return made
}

// MatchString reports whether a text has the form.
func (f *form) MatchString(text string) bool { return f.made().MatchString(text) }

// FindStringSubmatch gives the parts of a text that has the form.
func (f *form) FindStringSubmatch(text string) []string { return f.made().FindStringSubmatch(text) }

// String is the expression.
func (f *form) String() string { return f.text }

// ReplaceAllStringFunc puts what a function makes of it in the place of what has the form.
func (f *form) ReplaceAllStringFunc(text string, with func(string) string) string {
	return f.made().ReplaceAllStringFunc(text, with)
}

// ReplaceAllString puts something in the place of what has the form.
func (f *form) ReplaceAllString(text, with string) string {
	return f.made().ReplaceAllString(text, with)
}
