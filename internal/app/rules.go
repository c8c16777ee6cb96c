package app

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

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
	if len(paths) == 0 {
		return readRules(c.Shipped, c.Rules)
	}
	read, err := readRules(false, paths)
	if err != nil {
		return nil, err
	}
	inForce, err := readRules(c.Shipped, c.Rules)
	if err == nil {
		read.Library = inForce.Collection
	}
	return read, nil // what the configuration names may not be there: then nothing can refer to it
}

// readRules reads the rules in the binary if asked to, and those at paths.
func readRules(shipped bool, paths []string) (*rulecase.Content, error) {
	read := &rulecase.Content{}
	var errs []error
	if shipped {
		errs = append(errs, read.Read(content.Files, "rules", shippedPrefix))
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

// Ruleset makes a set of rules whose findings in logs can be counted. Records are of the log source as, or
// else of the one that they are known by.
func Ruleset(read *rulecase.Content, as sigma.LogSource) (*replay.Ruleset, error) {
	source := func(ev event.Event) sigma.LogSource {
		if as != (sigma.LogSource{}) {
			return as
		}
		product, service := detect.LogSource(ev.Source)
		return sigma.LogSource{Product: product, Service: service}
	}
	set, err := replay.NewRuleset(read.Rules, nameOf, source)
	return set, fault.Wrap(fault.Invalid, err)
}

// nameOf is what findings of a rule are called, and its title where it has neither name nor ID.
func nameOf(r *sigma.Rule) string { return cmp.Or(detect.Name(&r.Header), r.Title) }
