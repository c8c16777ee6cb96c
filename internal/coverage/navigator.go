package coverage

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The versions that a layer says: of the format, and of the ATT&CK Navigator that it was tried with at least.
const (
	layerVersion     = "4.5"
	navigatorVersion = "5.1.0"
)

// What a technique scores: a rule, a rule that is tested, one that a playbook answers, too.
const (
	scoreRule     = 1
	scoreTested   = 2
	scoreAnswered = 3
)

// The colours of the scores from 0, and of a technique whose log source is silent.
var (
	colours = []string{"#ffffff", "#ffd166", "#9ad29a", "#2e8b57"} //nolint:gochecknoglobals // a constant
	silent  = "#b0b0b0"                                            //nolint:gochecknoglobals // a constant
)

// layer is what the ATT&CK Navigator reads, in version 4.5 of its format.
type layer struct {
	Name        string           `json:"name"`
	Versions    versions         `json:"versions"`
	Domain      string           `json:"domain"`
	Description string           `json:"description"`
	Sorting     int              `json:"sorting"`
	Layout      layout           `json:"layout"`
	Techniques  []layerTechnique `json:"techniques"`
	Gradient    gradient         `json:"gradient"`
	Legend      []legend         `json:"legendItems"`
	Metadata    []metadata       `json:"metadata"`
}

type versions struct {
	Navigator string `json:"navigator"`
	Layer     string `json:"layer"`
}

type layout struct {
	Layout                string `json:"layout"`
	ShowID                bool   `json:"showID"`
	ShowName              bool   `json:"showName"`
	ExpandedSubtechniques string `json:"expandedSubtechniques"`
}

type layerTechnique struct {
	ID       string     `json:"techniqueID"`
	Score    int        `json:"score"`
	Color    string     `json:"color,omitempty"` // over that of the score
	Comment  string     `json:"comment"`
	Enabled  bool       `json:"enabled"`
	Metadata []metadata `json:"metadata"`
}

type gradient struct {
	Colors []string `json:"colors"`
	Min    int      `json:"minValue"`
	Max    int      `json:"maxValue"`
}

type legend struct {
	Label string `json:"label"`
	Color string `json:"color"`
}

type metadata struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Navigator writes the report as a layer of the ATT&CK Navigator.
func (r *Report) Navigator() ([]byte, error) {
	l := layer{
		Name: "Riposte", Versions: versions{Navigator: navigatorVersion, Layer: layerVersion}, Domain: "enterprise-attack",
		Description: "Techniques that Riposte's rules find, whether the rules are tested, whether a playbook answers, and whether the log source was heard of.",
		Sorting:     3, Layout: layout{Layout: "side", ShowID: true, ShowName: true, ExpandedSubtechniques: "annotated"},
		Techniques: []layerTechnique{}, Gradient: gradient{Colors: colours, Min: 0, Max: scoreAnswered},
		Legend: []legend{
			{"a rule", colours[scoreRule]},
			{"a rule that is tested", colours[scoreTested]},
			{"tested, and a playbook answers", colours[scoreAnswered]},
			{"the log source is silent", silent},
		},
		Metadata: []metadata{},
	}
	for _, needed := range r.Sources {
		l.Metadata = append(l.Metadata, metadata{needed.Name, fmt.Sprintf("%d rules, %s", needed.Rules, needed.Heard)})
	}
	for _, t := range r.Techniques {
		l.Techniques = append(l.Techniques, t.layered())
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return append(text, '\n'), nil
}

func (t *Technique) layered() layerTechnique {
	l := layerTechnique{ID: t.ID, Score: t.score(), Enabled: true, Comment: t.sum(), Metadata: []metadata{}}
	if t.Heard == Silent {
		l.Color = silent
	}
	for _, rule := range t.Rules {
		l.Metadata = append(l.Metadata, metadata{rule.Rule, rule.sum()})
	}
	return l
}

func (t *Technique) score() int {
	switch {
	case t.Tested && t.Answered:
		return scoreAnswered
	case t.Tested:
		return scoreTested
	}
	return scoreRule
}

// sum says in a line what is covered.
func (t *Technique) sum() string {
	return fmt.Sprintf("rules: %d, tested: %s, playbook: %s, log source: %s", len(t.Rules), yes(t.Tested), yes(t.Answered), t.Heard)
}

func (f *Finding) sum() string {
	books := "none"
	if len(f.Playbooks) > 0 {
		books = strings.Join(f.Playbooks, ", ")
	}
	return fmt.Sprintf("%s; tested: %s; playbooks: %s; needs %s (%s)", f.Title, yes(f.Tested), books, strings.Join(f.Needs, ", "), f.Heard)
}

func yes(holds bool) string {
	if holds {
		return "yes"
	}
	return "no"
}
