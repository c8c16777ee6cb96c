// Package playcase runs the tests that stand beside playbooks, on an emulated account.
//
// A test says what is found, what the account is like, what people answer and what fails; and what must come of
// it. It is carried out by the runner of production, on the actions' own decisions, in virtual time, and once more
// with an accident at each of its commits. docs/design/playcase.md tells why.
package playcase

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/run"
)

// Suite is one file of tests.
type Suite struct {
	Playbook string // its name
	File     string
	Tests    []*Test

	doc *document.Document
}

// Test is one test of a playbook.
type Test struct {
	Name string
	At   document.Pos

	path string // in the file: tests[2]
	written
}

// written is a test as people write it.
type written struct {
	Name    string
	Finding *found
	Event   map[string]any
	Events  []map[string]any
	File    string         // of an event, beside the test
	Inputs  map[string]any // of a playbook that others call
	// Autonomy and Ceiling are the playbook's own, and auto, if absent.
	Autonomy  autonomy
	Ceiling   autonomy
	Protect   []protected
	World     map[string]map[string]any // by action and target
	Answers   map[string]said           // by step or action
	Approvals []approval
	Faults    []failure
	// NoCrashes says why the test isn't told again with accidents.
	NoCrashes string `yaml:"no_crashes"`
	Expect    expected
}

type found struct {
	Type        string
	Product     string
	Severity    finding.Severity
	Title       string
	Description string
	Account     string
	Region      string
	Rule        string
	Count       int
	FirstSeen   time.Time `yaml:"first_seen"`
	LastSeen    time.Time `yaml:"last_seen"`
	Tactics     []string
	Techniques  []string
	Reference   map[string]string
	Entities    []who
}

type who struct {
	Kind    kind
	ID      string
	Part    string
	Account string
	Region  string
	ARN     string
}

type protected struct {
	Kind    kind
	Name    string
	ARN     string
	Account string
	Tag     string
}

// approval is a person's answer to a question.
type approval struct {
	Step   string
	By     string
	Roles  []string
	Answer yes
	Reason string
	After  time.Duration // since the question was asked
	// Refused is part of why the answer must not be taken; "" where it must.
	Refused string
}

// failure is what goes wrong at a step.
type failure struct {
	Step  string
	Phase phase
	Kind  mishap
	Times int
	To    map[string]any // what somebody else makes of the target, where it moved
}

type expected struct {
	Starts  *bool
	Subject *string
	Ends    ending
	Calls   []string
	Steps   map[string]string
	Asks    []asked
	Tells   []told
	Notices []notice
	Reason  string
	After   map[string]map[string]any
	Undo    undoing
}

type asked struct {
	Step   string
	Roles  []string
	Plans  []string
	Quorum int
}

type told struct {
	Use      string // action; any if absent
	Channel  string
	Contains words
}

type notice struct {
	Kind     string
	Channel  string
	OnCall   string `yaml:"on_call"`
	Contains words
}

// The words that tests use for things of which there are few.
type (
	autonomy string
	kind     string
	yes      bool
	phase    string
	mishap   string
	ending   string
	undoing  string
	// words is one text, or several.
	words []string
)

const (
	planning  phase = "plan"
	applying  phase = "apply"
	verifying phase = "verify"
	awaiting  phase = "await"
	undoes    phase = "undo"

	throttled   mishap = "throttled"
	timeout     mishap = "timeout"
	serverError mishap = "server_error"
	denied      mishap = "denied"
	gone        mishap = "gone"
	lostAnswer  mishap = "lost_answer"
	moved       mishap = "moved"
	notHeld     mishap = "not_held"

	restores undoing = "restores"
	refuses  undoing = "refuses"
)

// UnmarshalDocument is of document.Unmarshaler.
func (a *autonomy) UnmarshalDocument(n document.Node) error {
	return choice(n, a, string(run.Observe), string(run.Approve), string(run.Auto))
}

// UnmarshalDocument is of document.Unmarshaler.
func (k *kind) UnmarshalDocument(n document.Node) error {
	var all []string
	for _, known := range entity.Kinds() {
		all = append(all, string(known))
	}
	return choice(n, k, all...)
}

// UnmarshalDocument is of document.Unmarshaler.
func (y *yes) UnmarshalDocument(n document.Node) error {
	switch text, _ := n.Text(); text {
	case "yes", "true":
		*y = true
	case "no", "false":
		*y = false
	default:
		return n.Errorf("an answer is yes or no, not %q", text)
	}
	return nil
}

// UnmarshalDocument is of document.Unmarshaler.
func (p *phase) UnmarshalDocument(n document.Node) error {
	return choice(n, p, string(planning), string(applying), string(verifying), string(awaiting), string(undoes))
}

// UnmarshalDocument is of document.Unmarshaler.
func (m *mishap) UnmarshalDocument(n document.Node) error {
	return choice(n, m, string(throttled), string(timeout), string(serverError), string(denied), string(gone), string(lostAnswer),
		string(moved), string(notHeld))
}

// UnmarshalDocument is of document.Unmarshaler.
func (e *ending) UnmarshalDocument(n document.Node) error {
	return choice(n, e, string(run.Succeeded), string(run.Denied), string(run.Failed), string(run.Blocked), string(run.Observed),
		string(run.Waiting), string(run.Held))
}

// UnmarshalDocument is of document.Unmarshaler.
func (u *undoing) UnmarshalDocument(n document.Node) error {
	return choice(n, u, string(restores), string(refuses))
}

// UnmarshalDocument is of document.Unmarshaler.
func (w *words) UnmarshalDocument(n document.Node) error {
	if n.IsList() {
		return n.Decode((*[]string)(w)) //nolint:wrapcheck // it names the place
	}
	var one string
	err := n.Decode(&one)
	*w = words{one}
	return err //nolint:wrapcheck // it names the place
}

// choice reads a word that is one of a few.
func choice[T ~string](n document.Node, into *T, of ...string) error {
	text, _ := n.Text()
	if slices.Contains(of, text) {
		*into = T(text)
		return nil
	}
	if near := document.Suggest(text, of); near != "" {
		return n.Errorf("%q is not known here; did you mean %q?", text, near) //nolint:wrapcheck // it names the place
	}
	return n.Errorf("%q is not one of %s", text, strings.Join(of, ", ")) //nolint:wrapcheck // it names the place
}

// said is something whose form depends on what it is said of.
type said struct {
	node  document.Node
	given bool
}

// UnmarshalDocument is of document.Unmarshaler.
func (s *said) UnmarshalDocument(n document.Node) error {
	s.node, s.given = n, true
	return nil
}

// UnmarshalDocument is of document.Unmarshaler.
func (t *Test) UnmarshalDocument(n document.Node) error {
	t.At, t.path = n.Pos(), n.Path()
	err := n.Decode(&t.written)
	t.Name = t.written.Name
	return err //nolint:wrapcheck // it names the place
}

// Parse reads one file of tests. Its mistakes are told at once and are of kind fault.Invalid.
func Parse(file string, text []byte) (*Suite, error) {
	doc, err := document.Parse(file, text)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the place
	}
	var read struct {
		Playbook string
		Tests    []*Test
	}
	if err := doc.Decode(&read); err != nil {
		return nil, err //nolint:wrapcheck // it names the place
	}
	s := &Suite{Playbook: read.Playbook, File: file, Tests: read.Tests, doc: doc}
	var errs []error
	if len(s.Tests) == 0 {
		errs = append(errs, doc.Errorf("tests", "a file of tests has tests"))
	}
	names := map[string]int{}
	for _, t := range s.Tests {
		if line, twice := names[t.Name]; twice {
			errs = append(errs, s.mistake(t, "name", "%q is the name of the test at line %d, too", t.Name, line))
		}
		names[t.Name] = t.At.Line
		errs = append(errs, s.complete(t))
	}
	return s, errors.Join(errs...)
}

// complete finds what a test lacks, whatever it is of.
func (s *Suite) complete(t *Test) error {
	var errs []error
	fail := func(key, what string) { errs = append(errs, s.mistake(t, key, "%s", what)) }
	if strings.TrimSpace(t.Name) == "" {
		fail("name", "a test needs a name")
	}
	ways := 0
	for _, given := range []bool{t.Finding != nil, len(t.Event) > 0, len(t.Events) > 0, t.File != "", t.Inputs != nil && t.Finding == nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		fail("", "a test begins with one of finding, event, events, file; or with inputs where the playbook is called by others")
	}
	if t.Finding != nil && t.Finding.Type == "" {
		fail("finding.type", "a finding has a type, such as guardduty:Backdoor:EC2/*")
	}
	for i, a := range t.Approvals {
		if a.Step == "" || a.By == "" {
			fail(document.At("approvals", i), "an answer has a step and, in by, who answers")
		}
	}
	for i, f := range t.Faults {
		if f.Step == "" || f.Phase == "" || f.Kind == "" {
			fail(document.At("faults", i), "a fault has a step, a phase and a kind")
		}
	}
	return errors.Join(errs...)
}

// mistake makes an error about a key of a test.
func (s *Suite) mistake(t *Test, key, format string, args ...any) error {
	at := t.path
	if key != "" {
		at += "." + key
	}
	return s.doc.Errorf(at, format, args...) //nolint:wrapcheck // it names the place
}

// finding is what the test says was found, at a time.
func (f *found) finding(now time.Time) finding.Finding {
	made := finding.Finding{
		Product: finding.Product(f.Product), Type: f.Type, Severity: f.Severity, Title: f.Title, Description: f.Description,
		Account: f.Account, Region: f.Region, Rule: f.Rule, Count: max(f.Count, 1), FirstSeen: f.FirstSeen, LastSeen: f.LastSeen,
		Received: now, Tactics: f.Tactics, Attack: f.Techniques, Reference: f.Reference,
	}
	if made.Product == "" {
		before, _, _ := strings.Cut(f.Type, ":")
		made.Product = finding.Product(before)
		if before == "rule" {
			made.Product = finding.Riposte
		}
	}
	if made.FirstSeen.IsZero() {
		made.FirstSeen = now.Add(-time.Minute)
	}
	if made.LastSeen.IsZero() {
		made.LastSeen = made.FirstSeen
	}
	for _, e := range f.Entities {
		one := entity.Entity{
			Kind: entity.Kind(e.Kind), ID: e.ID, Part: entity.Part(e.Part), Provider: "aws", Account: e.Account, Region: e.Region, ARN: e.ARN,
		}
		if one.Part == "" {
			one.Part = entity.Target
		}
		if one.Account == "" {
			one.Account = f.Account
		}
		if one.Region == "" {
			one.Region = f.Region
		}
		made.Entities = append(made.Entities, one)
	}
	made.Fingerprint = finding.Fingerprint("test", f.Type, f.Title)
	return made
}

// protections are what the test protects, at a time.
func (t *Test) protections(now time.Time) []guardrail.Protection {
	var all []guardrail.Protection
	for _, p := range t.Protect {
		all = append(all, guardrail.Protection{
			ID: "test", Kind: entity.Kind(p.Kind), Name: p.Name, ARN: p.ARN, Account: p.Account, Tag: p.Tag, Reason: "the test protects it",
			By: "test", At: now,
		})
	}
	return all
}

// raw gives the events of a test, as their source writes them.
func (t *Test) raw() ([][]byte, error) {
	events := t.Events
	if len(t.Event) > 0 {
		events = []map[string]any{t.Event}
	}
	var all [][]byte
	for _, one := range events {
		text, err := json.Marshal(one)
		if err != nil {
			return nil, fault.New(fault.Invalid, "an event can't be written as JSON: %w", err)
		}
		all = append(all, text)
	}
	return all, nil
}

// beside gives the path of a file of tests, or of what is tested, without its ending.
func beside(file string) string {
	stem := strings.TrimSuffix(file, path.Ext(file))
	return strings.TrimSuffix(stem, "_test")
}
