// Package conformance is a suite of cases that tell whether an engine reads Sigma rules right.
//
// A case is a rule with events that must match and others that must not, a rule that must be refused, or rules
// with a correlation and a stream of events with the alerts that must come of it. The cases are plain YAML files
// in the folder cases; README.md describes them for engines in any language. What an expectation rests on is
// said in each case: a section of the specification, or a choice where the specification is silent.
package conformance

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// version of the format that this package reads.
const version = 1

//go:embed cases/*.yml
var files embed.FS

// Topic is one file of cases.
type Topic struct {
	Name  string
	About string
	Cases []Case
}

// Case is what one rule, or several that belong together, must do.
type Case struct {
	Name string `yaml:"name"`
	// Spec names the section of the specification that decides, as document#section. Either it is there or Choice.
	Spec string `yaml:"spec"`
	// Choice is the reason for an expectation that the specification doesn't decide; another engine may differ.
	Choice string `yaml:"choice"`
	Why    string `yaml:"why"`
	// Optional tells that an engine may also refuse the documents.
	Optional bool `yaml:"optional"`
	// Source is where the events come from.
	Source Source `yaml:"source"`
	// Placeholders are the values of placeholders, by name.
	Placeholders map[string][]string `yaml:"placeholders"`
	// Documents are rules, filters and correlations as YAML, several of them with --- between.
	Documents string `yaml:"documents"`
	// Refused tells that the documents must not load.
	Refused bool `yaml:"refused"`
	// Matches and Misses are events, as JSON, that the rule must match and must not.
	Matches []string `yaml:"matches"`
	Misses  []string `yaml:"misses"`
	// Stream is what a correlation sees, in the order in which it arrives, and Alerts what must come of it.
	Stream []Arrival `yaml:"stream"`
	Alerts []Alert   `yaml:"alerts"`
}

// Source says which log an event is of. Empty parts aren't known.
type Source struct {
	Product  string `json:"product,omitempty"  yaml:"product"`
	Service  string `json:"service,omitempty"  yaml:"service"`
	Category string `json:"category,omitempty" yaml:"category"`
}

// Arrival is one event of a stream.
type Arrival struct {
	// ID identifies the event: two arrivals with one are the same. Without one each is an event of its own.
	ID     string    `json:"id"     yaml:"id"`
	Time   time.Time `json:"time"   yaml:"time"` // when it happened
	Event  string    `json:"event"  yaml:"event"`
	Source Source    `json:"source" yaml:"source"`
}

// Alert is one group of events that a correlation has found.
type Alert struct {
	By    string            `json:"by"             yaml:"by"` // name of the correlation
	Group map[string]string `json:"group"          yaml:"group"`
	// Times is how often there must be an alert for the group; at least once where it is zero.
	Times int `json:"times,omitempty" yaml:"times"`
}

// file is a topic as it is written.
type file struct {
	Suite        int                 `yaml:"suite"`
	Topic        string              `yaml:"topic"`
	About        string              `yaml:"about"`
	Choice       string              `yaml:"choice"`
	Base         string              `yaml:"base"`
	Source       Source              `yaml:"source"`
	Placeholders map[string][]string `yaml:"placeholders"`
	Cases        []written           `yaml:"cases"`
}

// written is a case as it is written, with the short forms.
type written struct {
	Case      `yaml:",inline"`
	Rule      string `yaml:"rule"`
	Detection string `yaml:"detection"`
}

// Size is how many expectations a case holds: one for each event to match or miss, one for a refusal, one for
// a stream.
func (c *Case) Size() int {
	if c.Refused || len(c.Stream) > 0 {
		return 1
	}
	return len(c.Matches) + len(c.Misses)
}

// Load reads the cases that come with this package, in the order of the names of their files.
func Load() ([]Topic, error) {
	folder, err := fs.Sub(files, "cases")
	if err != nil {
		return nil, err
	}
	return LoadFrom(folder)
}

// LoadFrom reads the cases of a folder.
func LoadFrom(folder fs.FS) ([]Topic, error) {
	names, err := fs.Glob(folder, "*.yml")
	if err != nil {
		return nil, err
	}
	var topics []Topic
	var mistakes []error
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, err
		}
		topic, err := read(text)
		if err == nil && topic.Name+".yml" != name {
			err = fmt.Errorf("holds the topic %s", topic.Name)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", name, err))
		}
		topics = append(topics, topic)
	}
	return topics, errors.Join(mistakes...)
}

// read reads one file.
func read(text []byte) (Topic, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var f file
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return Topic{}, err
	}
	if f.Suite != version {
		return Topic{}, fmt.Errorf("is of version %d of the format, not %d", f.Suite, version)
	}
	if f.Topic == "" || f.About == "" {
		return Topic{}, errors.New("names no topic, or doesn't say what it is about")
	}
	topic := Topic{Name: f.Topic, About: f.About}
	var mistakes []error
	seen := make(map[string]bool)
	for i := range f.Cases {
		c, err := f.complete(&f.Cases[i])
		if err == nil && seen[c.Name] {
			err = errors.New("is there twice")
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("case %d, %s: %w", i+1, c.Name, err))
		}
		seen[c.Name] = true
		topic.Cases = append(topic.Cases, c)
	}
	return topic, errors.Join(mistakes...)
}

// complete is a case with the short forms written out, and what the file says of all its cases.
func (f *file) complete(w *written) (Case, error) {
	c := w.Case
	if c.Spec == "" && c.Choice == "" {
		c.Choice = f.Choice
	}
	if c.Placeholders == nil {
		c.Placeholders = f.Placeholders
	}
	if c.Source == (Source{}) {
		c.Source = f.Source
	}
	if c.Source == (Source{}) {
		c.Source = Source{Product: "aws", Service: "cloudtrail"}
	}
	for i := range c.Stream {
		if c.Stream[i].Source == (Source{}) {
			c.Stream[i].Source = c.Source
		}
		if c.Stream[i].ID == "" {
			c.Stream[i].ID = "arrival " + strconv.Itoa(i+1)
		}
	}
	given := 0
	for _, text := range []string{w.Rule, w.Detection, c.Documents} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return c, errors.New("needs one of rule, detection and documents")
	}
	switch {
	case w.Rule != "":
		c.Documents = w.Rule
	case w.Detection != "":
		c.Documents = whole(f.Topic, c.Name, w.Detection)
	}
	if f.Base != "" {
		c.Documents = strings.TrimRight(f.Base, "\n") + "\n---\n" + c.Documents
	}
	return c, c.check()
}

// whole is the rule around a detection.
func whole(topic, name, detection string) string {
	return "title: " + topic + " " + name + "\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  " +
		strings.ReplaceAll(strings.TrimRight(detection, "\n"), "\n", "\n  ") + "\n"
}

var (
	plainName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	section   = regexp.MustCompile(`^(rules|modifiers|correlations|filters)#[a-z0-9]+(-[a-z0-9]+)*$`)
)

// check says what is wrong with a case, if anything is.
func (c *Case) check() error {
	events := len(c.Matches) + len(c.Misses)
	switch {
	case !plainName.MatchString(c.Name):
		return fmt.Errorf("%q is no name of small letters and hyphens", c.Name)
	case (c.Spec == "") == (c.Choice == ""):
		return errors.New("needs either spec or choice")
	case c.Spec != "" && !section.MatchString(c.Spec):
		return fmt.Errorf("%q is no section such as rules#escaping", c.Spec)
	case c.Optional && c.Spec != "":
		return errors.New("is optional, and so a choice")
	case c.Refused && (events > 0 || len(c.Stream) > 0 || c.Optional):
		return errors.New("can't be refused and have events")
	case !c.Refused && (events > 0) == (len(c.Stream) > 0):
		return errors.New("needs events or a stream")
	case len(c.Stream) == 0 && len(c.Alerts) > 0:
		return errors.New("has alerts without a stream")
	}
	for i := range c.Stream {
		if c.Stream[i].Time.IsZero() {
			return fmt.Errorf("event %d of the stream has no time", i+1)
		}
	}
	return nil
}
