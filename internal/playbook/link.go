package playbook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/document"
)

// seam begins the line before the text of a called playbook. No file of a playbook has such a line.
const seam = "#%% riposte: called playbook "

// Link finds the playbooks that others call. Those that do carry the text of what they call from then on, in
// their hash too. Errors name what isn't there, what calls itself, and what may come to too many steps.
func Link(books []*Playbook) error {
	var errs []error
	for _, book := range books {
		errs = append(errs, book.link(books))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, book := range books {
		if err := book.circle(nil); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, book := range books {
		if called := book.calls(); len(called) > 0 {
			errs = append(errs, book.bounded())
			book.bind(called)
		}
	}
	return errors.Join(errs...)
}

// link sets what the steps call.
func (p *Playbook) link(books []*Playbook) error {
	var errs []error
	p.Walk(func(step *Step) {
		if step.Called == "" {
			return
		}
		at := slices.IndexFunc(books, func(other *Playbook) bool { return other.Name == step.Called })
		if at >= 0 {
			step.Calls = books[at]
			return
		}
		names := make([]string, 0, len(books))
		for _, other := range books {
			names = append(names, other.Name)
		}
		hint := ""
		if near := document.Suggest(step.Called, names); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		errs = append(errs, p.mistake(step.Path+".call", "no playbook is called %q%s", step.Called, hint))
	})
	return errors.Join(errs...)
}

// circle finds playbooks that call themselves, over others or not.
func (p *Playbook) circle(way []string) error {
	way = append(slices.Clone(way), p.Name)
	var found error
	p.Walk(func(step *Step) {
		if step.Calls == nil || found != nil {
			return
		}
		if slices.Contains(way, step.Calls.Name) {
			found = p.mistake(step.Path+".call", "playbooks call each other in a circle: %s → %s",
				strings.Join(way, " → "), step.Calls.Name)
			return
		}
		found = step.Calls.circle(way)
	})
	return found
}

// bounded refuses what may come to more steps than a run may have.
func (p *Playbook) bounded() error {
	if most := size(p.Steps) + size(p.Finally); most > mostRun {
		return p.mistake("steps", "its loops may come to more than %d steps; lower at_most", mostRun)
	}
	return nil
}

// mistake makes an error about a place in the playbook's file.
func (p *Playbook) mistake(path, format string, args ...any) error {
	doc, err := document.Parse(p.File, p.Source)
	if err != nil {
		return err
	}
	return doc.Errorf(path, format, args...)
}

// bind puts the texts of called playbooks behind the playbook's own.
func (p *Playbook) bind(called []*Playbook) {
	var text bytes.Buffer
	text.Write(p.Source)
	for _, other := range called {
		fmt.Fprintf(&text, "\n%s%s\n", seam, other.Name)
		text.Write(other.Source)
	}
	p.Text = text.Bytes()
	p.Hash = digest(p.Text)
}

// unbind takes a text apart that bind put together: the playbook's own, then those that it calls.
func unbind(text []byte) [][]byte {
	var parts [][]byte
	for {
		at := bytes.Index(text, []byte("\n"+seam))
		if at < 0 {
			return append(parts, text)
		}
		parts = append(parts, text[:at])
		_, after, _ := bytes.Cut(text[at+1:], []byte("\n"))
		text = after
	}
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func compare(a, b string) int { return strings.Compare(a, b) }
