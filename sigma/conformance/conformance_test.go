package conformance_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/sigma"
	"github.com/riposte-sec/riposte/sigma/conformance"
)

// program is a command line that is run as an engine; see README.md.
var program = flag.String("engine", "", "command that reads requests and writes replies, one JSON object a line")

// adapterOf names our own implementation that the test binary serves as an engine, if it's set.
const adapterOf = "RIPOSTE_CONFORMANCE_ENGINE"

// leastCases is how many expectations the suite must hold, so that it can't be emptied unnoticed.
const leastCases = 1500

// engines are our own implementations.
func engines() map[string]func() conformance.Engine {
	made := func(compile func(rules []*sigma.Rule) (evaluator, error)) func() conformance.Engine {
		return func() conformance.Engine { return &engine{compile: compile} }
	}
	return map[string]func() conformance.Engine{
		"interpreter": made(alone), "set": made(together), "compiled": made(compiled),
	}
}

func TestMain(m *testing.M) {
	if made, ok := engines()[os.Getenv(adapterOf)]; ok {
		if err := conformance.Serve(made(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// evaluator tells which rules match an event of a source.
type evaluator func(event []byte, s conformance.Source) ([]sigma.Hit, error)

// alone asks each rule by itself.
func alone(rules []*sigma.Rule) (evaluator, error) {
	return func(event []byte, s conformance.Source) ([]sigma.Hit, error) {
		parsed, err := sigma.ParseEvent(event)
		if err != nil {
			return nil, err
		}
		var hits []sigma.Hit
		for _, r := range rules {
			if m, ok := r.Match(parsed); ok && r.LogSource.Covers(s.Product, s.Service, s.Category) {
				hits = append(hits, sigma.Hit{Rule: r, Match: m})
			}
		}
		return hits, nil
	}, nil
}

// together asks a set of the rules.
func together(rules []*sigma.Rule) (evaluator, error) {
	set, err := sigma.NewSet(rules)
	return func(event []byte, s conformance.Source) ([]sigma.Hit, error) {
		parsed, err := sigma.ParseEvent(event)
		if err != nil {
			return nil, err
		}
		return set.Evaluate(parsed, s.Product, s.Service, s.Category), nil
	}, err
}

// compiled asks the compiled engine.
func compiled(rules []*sigma.Rule) (evaluator, error) {
	e, err := sigma.Compile(rules)
	return func(event []byte, s conformance.Source) ([]sigma.Hit, error) {
		return e.Evaluate(event, s.Product, s.Service, s.Category)
	}, err
}

// engine is an implementation of ours.
type engine struct {
	compile  func(rules []*sigma.Rule) (evaluator, error)
	linked   *sigma.Linked
	evaluate evaluator
}

// Load reads documents.
func (e *engine) Load(documents string, placeholders map[string][]string) error {
	c, err := sigma.ParseCollection("case.yml", []byte(documents), sigma.Options{Placeholders: placeholders})
	if err == nil {
		e.linked, err = c.Link(time.Date(2024, 5, 6, 7, 0, 0, 0, time.UTC))
	}
	if err == nil {
		e.evaluate, err = e.compile(e.linked.Rules)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", conformance.ErrRefused, err)
	}
	return nil
}

// Match asks the rules.
func (e *engine) Match(event string, s conformance.Source) (bool, error) {
	hits, err := e.evaluate([]byte(event), s)
	return len(hits) > 0, err
}

// Correlate asks the correlations.
func (e *engine) Correlate(stream []conformance.Arrival) ([]conformance.Alert, error) {
	correlator := sigma.NewCorrelator(e.linked, sigma.CorrelatorOptions{})
	var all []sigma.Alert
	for _, a := range stream {
		hits, err := e.evaluate([]byte(a.Event), a.Source)
		if err != nil {
			return nil, err
		}
		parsed, err := sigma.ParseEvent([]byte(a.Event))
		if err != nil {
			return nil, err
		}
		all = append(all, correlator.Observe(hits, parsed, a.ID, a.Time)...)
	}
	var alerts []conformance.Alert
	seen := make(map[string]bool) // an alert is told again when it is final
	for _, a := range append(all, correlator.Flush()...) {
		if !seen[a.Key()] && !a.Correlation.Quiet {
			alerts = append(alerts, conformance.Alert{By: a.Correlation.Name, Group: a.Values})
		}
		seen[a.Key()] = true
	}
	return alerts, nil
}

func suite(t *testing.T) []conformance.Topic {
	t.Helper()
	topics, err := conformance.Load()
	if err != nil {
		t.Fatal(err)
	}
	return topics
}

func TestSuiteIsWhole(t *testing.T) {
	cases, size, choices := 0, 0, 0
	for _, topic := range suite(t) {
		for _, c := range topic.Cases {
			cases++
			size += c.Size()
			if c.Choice != "" {
				choices += c.Size()
			}
			for _, event := range append(append([]string(nil), c.Matches...), c.Misses...) {
				if _, err := sigma.ParseEvent([]byte(event)); err != nil {
					t.Errorf("%s/%s: %v: %s", topic.Name, c.Name, err, event)
				}
			}
			for _, a := range c.Stream {
				if _, err := sigma.ParseEvent([]byte(a.Event)); err != nil {
					t.Errorf("%s/%s: %v: %s", topic.Name, c.Name, err, a.Event)
				}
			}
		}
	}
	t.Logf("%d cases with %d expectations, %d of them choices", cases, size, choices)
	if size < leastCases {
		t.Errorf("got %d expectations, want at least %d", size, leastCases)
	}
}

func TestEngines(t *testing.T) {
	topics := suite(t)
	for name, made := range engines() {
		t.Run(name, func(t *testing.T) { runAll(t, made(), topics) })
	}
}

// runAll puts every case to an engine.
func runAll(t *testing.T, e conformance.Engine, topics []conformance.Topic) {
	t.Helper()
	asked, unsupported := 0, 0
	for _, topic := range topics {
		for _, c := range topic.Cases {
			problems, err := conformance.Check(e, c)
			switch {
			case errors.Is(err, conformance.ErrUnsupported):
				unsupported++
				continue
			case err != nil:
				t.Fatalf("%s/%s: %v", topic.Name, c.Name, err)
			}
			asked++
			for _, p := range problems {
				t.Errorf("%s/%s (%s): %s", topic.Name, c.Name, basis(c), p)
			}
		}
	}
	t.Logf("%d cases asked, %d not supported", asked, unsupported)
	if asked == 0 {
		t.Error("no case could be asked")
	}
}

// basis tells what an expectation rests on.
func basis(c conformance.Case) string {
	if c.Spec != "" {
		return c.Spec
	}
	return "choice"
}

// TestRemote runs our own interpreter as another program, so that the protocol is held to what it says.
func TestRemote(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(adapterOf, "interpreter")
	runProgram(t, binary)
}

// TestProgram runs the program of the flag engine.
func TestProgram(t *testing.T) {
	words := strings.Fields(*program)
	if len(words) == 0 {
		t.Skip("no program given by -engine")
	}
	runProgram(t, words[0], words[1:]...)
}

func runProgram(t *testing.T, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	runAll(t, conformance.NewRemote(in, out), suite(t))
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}
