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

	"github.com/riposte-sec/riposte/sigma"
	"github.com/riposte-sec/riposte/sigma/conformance"
)

// program is a command line that is run as an engine; see README.md.
var program = flag.String("engine", "", "command that reads requests and writes replies, one JSON object a line")

// adapterOf names our own implementation that the test binary serves as an engine, if it's set.
const adapterOf = "RIPOSTE_CONFORMANCE_ENGINE"

// leastCases is how many expectations the suite must hold, so that it can't be emptied unnoticed.
const leastCases = 900

// engines are our own implementations.
func engines() map[string]func() conformance.Engine {
	return map[string]func() conformance.Engine{
		"interpreter": func() conformance.Engine { return &engine{hits: alone} },
		"set":         func() conformance.Engine { return &engine{hits: together} },
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

// engine is an implementation of ours.
type engine struct {
	rules []*sigma.Rule
	hits  func(rules []*sigma.Rule, e *sigma.Event, s conformance.Source) (bool, error)
}

// Load reads documents.
func (e *engine) Load(documents string, placeholders map[string][]string) error {
	rules, err := sigma.ParseWith("case.yml", []byte(documents), sigma.Options{Placeholders: placeholders})
	if err == nil {
		_, err = sigma.NewSet(rules)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", conformance.ErrRefused, err)
	}
	e.rules = rules
	return nil
}

// Match asks the rules.
func (e *engine) Match(event string, s conformance.Source) (bool, error) {
	parsed, err := sigma.ParseEvent([]byte(event))
	if err != nil {
		return false, err
	}
	return e.hits(e.rules, parsed, s)
}

// Correlate is not there yet.
func (e *engine) Correlate([]conformance.Arrival) ([]conformance.Alert, error) {
	return nil, fmt.Errorf("%w: correlations", conformance.ErrUnsupported)
}

// alone asks each rule by itself.
func alone(rules []*sigma.Rule, e *sigma.Event, s conformance.Source) (bool, error) {
	for _, r := range rules {
		if _, ok := r.Match(e); ok && r.LogSource.Covers(s.Product, s.Service, s.Category) {
			return true, nil
		}
	}
	return false, nil
}

// together asks a set of the rules.
func together(rules []*sigma.Rule, e *sigma.Event, s conformance.Source) (bool, error) {
	set, err := sigma.NewSet(rules)
	if err != nil {
		return false, err
	}
	return len(set.Evaluate(e, s.Product, s.Service, s.Category)) > 0, nil
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
