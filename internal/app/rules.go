package app

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/sigma"
)

// shippedPrefix begins the names of files that are in the binary.
const shippedPrefix = "shipped:"

// Rules reads rules with the tests beside them: those at paths, or else those that the configuration names,
// the shipped ones included. Correlations and filters at paths may refer to those of the configuration. What
// can't be read is among the content's mistakes; the error is of paths that aren't there.
func Rules(c ContentConfig, paths []string) (*rulecase.Content, error) {
	read, err := readRules(c, paths, false)
	if err != nil || len(paths) == 0 {
		return read, err
	}
	if inForce, err := readRules(c, nil, true); err == nil { // otherwise nothing can refer to it
		read.Library = inForce.Collection
	}
	return read, nil
}

// RulesAlone reads rules as Rules does, but neither their tests nor what they may refer to elsewhere.
func RulesAlone(c ContentConfig, paths []string) (*rulecase.Content, error) {
	return readRules(c, paths, true)
}

func readRules(c ContentConfig, paths []string, alone bool) (*rulecase.Content, error) {
	lists, err := loadLookups(c.Lookups)
	if err != nil {
		return nil, err
	}
	read := &rulecase.Content{Options: sigma.Options{Placeholders: lists}, WithoutTests: alone}
	var errs []error
	if len(paths) == 0 {
		paths = c.Rules
		if c.Shipped {
			errs = append(errs, read.Read(content.Files, "rules", shippedPrefix))
		}
	}
	for _, path := range paths {
		errs = append(errs, readAt(read, path))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(read.Rules)+len(read.Correlations)+len(read.Filters)+len(read.Cases)+len(read.Mistakes) == 0 {
		return nil, fault.WithHint(fault.New(fault.NotFound, "there are no rules and no tests of rules"),
			"name a folder that holds them, or a configuration that does")
	}
	return read, nil
}

// readAt reads a folder, or a file with the tests beside it, under the name that a person gave.
func readAt(into *rulecase.Content, path string) error {
	path = filepath.Clean(path)
	if about, err := os.Stat(path); err == nil && about.IsDir() {
		prefix := filepath.ToSlash(path) + "/"
		if path == "." {
			prefix = ""
		}
		return into.Read(os.DirFS(path), ".", prefix)
	}
	dir, file := filepath.Split(path)
	from := dir
	if from == "" {
		from = "."
	}
	return into.Read(os.DirFS(from), file, filepath.ToSlash(dir))
}

// Ruleset makes a set of a content's rules and correlations whose findings in logs can be counted, with the
// filters in force at a time. Records are of the log source as, or else of the one that they are known by. What
// refers to something that isn't there is left out, and among the results.
func Ruleset(read *rulecase.Content, as sigma.LogSource, at time.Time) (*replay.Ruleset, []rulecase.Result, error) {
	source := func(ev event.Event) (sigma.LogSource, []byte) {
		if as != (sigma.LogSource{}) {
			return as, ev.Raw
		}
		return SourceOf(ev)
	}
	linked, err := read.Collection.Link(at)
	refused := rulecase.Mistakes(err)
	set, err := replay.NewRuleset(linked, NameOf, source)
	return set, refused, fault.Wrap(fault.Invalid, err)
}

// LabelOf is what people know a rule by: the name of its findings, or else one that is more telling than an ID.
func LabelOf(h *sigma.Header) string {
	if name := detect.Name(h); name != h.ID {
		return name
	}
	return cmp.Or(h.Name, h.ID, h.Title)
}

// SourceOf is what Sigma calls the source of an event, by what is known of it, and the event as rules read it.
func SourceOf(ev event.Event) (source sigma.LogSource, text []byte) {
	product, service := detect.LogSource(ev.Source)
	return sigma.LogSource{Product: product, Service: service}, detect.AsRead(&ev)
}

// NameOf is what findings of a rule are called, and its title where it has neither name nor ID.
func NameOf(h *sigma.Header) string { return cmp.Or(detect.Name(h), h.Name, h.Title) }

// TestEvents are the events of a content's tests, each of the log source that its rule is for.
func TestEvents(read *rulecase.Content) []replay.Asked {
	sources := map[*sigma.Header]sigma.LogSource{}
	for _, r := range read.Rules {
		sources[&r.Header] = r.LogSource
	}
	var asked []replay.Asked
	for i, result := range read.Test().Results {
		source, known := sources[result.Of]
		if one := read.Cases[i]; known && len(one.Event) > 0 {
			asked = append(asked, replay.Asked{Text: one.Event, Source: source})
		}
	}
	return asked
}
