// Package coverage tells what of ATT&CK an installation covers: by rules, their tests, playbooks that answer, and
// log sources that were heard of.
package coverage

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/sigma"
)

// Input is what there is.
type Input struct {
	Rules     []Rule
	Playbooks []Playbook
	// Sources are those that events came from; nil if nobody knows.
	Sources []Source
	// Since is how new a source's newest event must be for the source to be heard of.
	Since time.Time
}

// Rule is a rule or a correlation that makes findings.
type Rule struct {
	Name  string   // as playbooks say it
	Title string   // for people
	Tags  []string // such as attack.t1562.008
	// Tested says that tests show it to match, and to let pass.
	Tested bool
	// Needs are the log sources without which it finds nothing.
	Needs []sigma.LogSource
}

// Playbook answers findings.
type Playbook struct {
	Name     string
	Findings []string // patterns on types of findings
}

// Source is where events came from.
type Source struct {
	LogSource sigma.LogSource
	Latest    time.Time // of the newest event
}

// Heard says whether a log source was heard of.
type Heard string

// The ways. A source is silent if nothing came from it lately.
const (
	Yes     Heard = "heard"
	Silent  Heard = "silent"
	Unknown Heard = "unknown"
)

// Report is what is covered.
type Report struct {
	Techniques []Technique `json:"techniques"` // by ID
	Tactics    []Tactic    `json:"tactics"`    // in ATT&CK's order
	Sources    []Needed    `json:"sources"`
	// Untagged are rules that name no technique.
	Untagged []string `json:"untagged"`
	Rules    int      `json:"rules"`
}

// Technique is a technique that a rule finds.
type Technique struct {
	ID      string    `json:"id"` // T1562.008
	Tactics []string  `json:"tactics"`
	Rules   []Finding `json:"rules"`
	// Tested and Answered say that a rule of it is; Heard is the best of its rules'.
	Tested   bool  `json:"tested"`
	Answered bool  `json:"answered"`
	Heard    Heard `json:"log_source"`
}

// Finding is a rule of a technique.
type Finding struct {
	Rule      string   `json:"rule"`
	Title     string   `json:"title"`
	Tested    bool     `json:"tested"`
	Playbooks []string `json:"playbooks"`
	Needs     []string `json:"needs"` // log sources, such as aws/cloudtrail
	Heard     Heard    `json:"log_source"`
	tactics   []string
}

// Tactic counts what is covered of a tactic.
type Tactic struct {
	Name       string `json:"name"` // defense-evasion
	Techniques int    `json:"techniques"`
	Tested     int    `json:"tested"`
	Answered   int    `json:"answered"`
	Heard      int    `json:"log_source_heard"`
}

// Needed is a log source that rules need.
type Needed struct {
	Name   string    `json:"name"`
	Rules  int       `json:"rules"`
	Heard  Heard     `json:"log_source"`
	Latest time.Time `json:"latest,omitzero"`
}

// Tactics are those of ATT&CK for enterprises, in its order.
func Tactics() []string {
	return []string{
		"reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation",
		"defense-evasion", "credential-access", "discovery", "lateral-movement", "collection", "command-and-control",
		"exfiltration", "impact",
	}
}

// Of makes the report of what there is.
func Of(in Input) Report {
	r := Report{Techniques: []Technique{}, Tactics: []Tactic{}, Sources: in.needed(), Untagged: []string{}, Rules: len(in.Rules)}
	byID := map[string][]Finding{}
	for _, rule := range in.Rules {
		tactics, techniques := attack(rule.Tags)
		found := in.finding(rule, tactics)
		for _, id := range techniques {
			byID[id] = append(byID[id], found)
		}
		if len(techniques) == 0 {
			r.Untagged = append(r.Untagged, rule.Name)
		}
	}
	for id, rules := range byID {
		r.Techniques = append(r.Techniques, technique(id, rules))
	}
	slices.Sort(r.Untagged)
	slices.SortFunc(r.Techniques, func(a, b Technique) int { return cmp.Compare(a.ID, b.ID) })
	r.Tactics = tactics(r.Techniques)
	return r
}

// finding is what is known of a rule.
func (in *Input) finding(rule Rule, tactics []string) Finding {
	f := Finding{Rule: rule.Name, Title: rule.Title, Tested: rule.Tested, Playbooks: []string{}, Needs: []string{}, Heard: Unknown, tactics: tactics}
	for _, book := range in.Playbooks {
		answers := func(pattern string) bool { return guardrail.Glob(pattern, "rule:"+rule.Name) }
		if slices.ContainsFunc(book.Findings, answers) {
			f.Playbooks = append(f.Playbooks, book.Name)
		}
	}
	slices.Sort(f.Playbooks)
	if in.Sources != nil {
		f.Heard = Yes
	}
	for _, need := range rule.Needs {
		if name := nameOf(need); !slices.Contains(f.Needs, name) {
			f.Needs = append(f.Needs, name)
		}
		if heard, _ := in.heard(need); heard == Silent { // of several, each is needed
			f.Heard = Silent
		}
	}
	return f
}

// heard tells whether a log source was heard of lately, and when last.
func (in *Input) heard(need sigma.LogSource) (Heard, time.Time) {
	if in.Sources == nil {
		return Unknown, time.Time{}
	}
	var latest time.Time
	for _, s := range in.Sources {
		if need.Covers(s.LogSource.Product, s.LogSource.Service, s.LogSource.Category) && s.Latest.After(latest) {
			latest = s.Latest
		}
	}
	if latest.IsZero() || latest.Before(in.Since) {
		return Silent, latest
	}
	return Yes, latest
}

// needed lists the log sources that rules need.
func (in *Input) needed() []Needed {
	all := []Needed{}
	for _, rule := range in.Rules {
		var counted []string
		for _, need := range rule.Needs {
			name := nameOf(need)
			if slices.Contains(counted, name) {
				continue
			}
			counted = append(counted, name)
			at := slices.IndexFunc(all, func(n Needed) bool { return n.Name == name })
			if at < 0 {
				heard, latest := in.heard(need)
				all = append(all, Needed{Name: name, Heard: heard, Latest: latest})
				at = len(all) - 1
			}
			all[at].Rules++
		}
	}
	slices.SortFunc(all, func(a, b Needed) int { return cmp.Or(cmp.Compare(b.Rules, a.Rules), cmp.Compare(a.Name, b.Name)) })
	return all
}

// nameOf writes a log source short: product/service/category, * for what it leaves open before something.
func nameOf(s sigma.LogSource) string {
	parts := []string{cmp.Or(s.Product, "*"), cmp.Or(s.Service, "*"), cmp.Or(s.Category, "*")}
	for len(parts) > 1 && parts[len(parts)-1] == "*" {
		parts = parts[:len(parts)-1]
	}
	return strings.ToLower(strings.Join(parts, "/"))
}

// technique sums up the rules of one.
func technique(id string, rules []Finding) Technique {
	t := Technique{ID: id, Tactics: []string{}, Rules: rules, Heard: Silent}
	slices.SortFunc(t.Rules, func(a, b Finding) int { return cmp.Compare(a.Rule, b.Rule) })
	for _, rule := range rules {
		t.Tested = t.Tested || rule.Tested
		t.Answered = t.Answered || len(rule.Playbooks) > 0
		if rule.Heard != Silent {
			t.Heard = rule.Heard
		}
		for _, tactic := range rule.tactics {
			if !slices.Contains(t.Tactics, tactic) {
				t.Tactics = append(t.Tactics, tactic)
			}
		}
	}
	slices.SortFunc(t.Tactics, byOrder)
	return t
}

// tactics counts techniques by tactic.
func tactics(techniques []Technique) []Tactic {
	all := []Tactic{}
	for _, t := range techniques {
		for _, name := range t.Tactics {
			at := slices.IndexFunc(all, func(tactic Tactic) bool { return tactic.Name == name })
			if at < 0 {
				all = append(all, Tactic{Name: name})
				at = len(all) - 1
			}
			all[at].Techniques++
			all[at].Tested += one(t.Tested)
			all[at].Answered += one(t.Answered)
			all[at].Heard += one(t.Heard == Yes)
		}
	}
	slices.SortFunc(all, func(a, b Tactic) int { return byOrder(a.Name, b.Name) })
	return all
}

func one(holds bool) int {
	if holds {
		return 1
	}
	return 0
}

// byOrder compares tactics by ATT&CK's order; those that it doesn't know come last.
func byOrder(a, b string) int {
	place := func(name string) int {
		if at := slices.Index(Tactics(), name); at >= 0 {
			return at
		}
		return len(Tactics())
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
}

var (
	techniqueForm = regexp.MustCompile(`^attack\.(t\d{4}(?:\.\d{3})?)$`)
	tacticForm    = regexp.MustCompile(`^attack\.([a-z]+(?:[-_][a-z]+)*)$`)
)

// attack gives the tactics and techniques that tags name. Groups and software are neither.
func attack(tags []string) (tactics, techniques []string) {
	for _, tag := range tags {
		folded := strings.ToLower(tag)
		if match := techniqueForm.FindStringSubmatch(folded); match != nil {
			if id := strings.ToUpper(match[1]); !slices.Contains(techniques, id) {
				techniques = append(techniques, id)
			}
		} else if match := tacticForm.FindStringSubmatch(folded); match != nil {
			if tactic := strings.ReplaceAll(match[1], "_", "-"); !slices.Contains(tactics, tactic) {
				tactics = append(tactics, tactic)
			}
		}
	}
	return tactics, techniques
}
