package sigma

import (
	"slices"
	"strings"
)

// Header is what rules, correlations and filters say of themselves.
type Header struct {
	ID             string
	Name           string // by which correlations and filters may refer to a rule
	Title          string
	Status         string // stable, test, experimental, deprecated, unsupported or empty
	Level          string // informational, low, medium, high, critical or empty
	Description    string
	License        string
	Author         string
	Date           string
	Modified       string
	References     []string
	Tags           []string
	FalsePositives []string
	Related        []Related
	File           string
	Line           int    // where the document begins in its file, 1-based
	Hash           string // SHA-256 of the document's text, in hexadecimal
	Custom         map[string]any
}

// Related is a rule that this one was derived from, replaces or resembles.
type Related struct {
	ID   string
	Type string
}

// Key identifies a rule, correlation or filter among others: its ID, or else its name, or else its hash.
func (h *Header) Key() string {
	switch {
	case h.ID != "":
		return h.ID
	case h.Name != "":
		return h.Name
	}
	return h.Hash
}

// header reads one top-level key that holds text; it reports whether the key is one.
func (d *document) header(h *Header, e entry) bool {
	switch e.name {
	case "title":
		if h.Title = d.text(e); strings.TrimSpace(h.Title) == "" {
			d.refuse(e.value, e.path, "is empty")
		}
	case "id":
		h.ID = d.text(e)
	case "name":
		h.Name = d.text(e)
	case "status":
		h.Status = d.oneOf(e, "stable", "test", "experimental", "deprecated", "unsupported")
	case "level":
		h.Level = d.oneOf(e, "informational", "low", "medium", "high", "critical")
	case "description":
		h.Description = d.text(e)
	case "license":
		h.License = d.text(e)
	case "author":
		h.Author = d.text(e)
	case "date":
		h.Date = d.text(e)
	case "modified":
		h.Modified = d.text(e)
	case "taxonomy":
		d.oneOf(e, "sigma")
	default:
		return d.lists(h, e)
	}
	return true
}

// lists reads the top-level keys of a header that hold more than text.
func (d *document) lists(h *Header, e entry) bool {
	switch e.name {
	case "references":
		h.References = d.texts(e)
	case "tags":
		h.Tags = d.texts(e)
	case "falsepositives":
		h.FalsePositives = d.texts(e)
	case "related":
		h.Related = d.related(e)
	default:
		return false
	}
	return true
}

func (d *document) oneOf(e entry, allowed ...string) string {
	got := d.text(e)
	if got != "" && !slices.Contains(allowed, got) {
		d.refuse(e.value, e.path, "%q is none of %s", got, strings.Join(allowed, ", "))
	}
	return got
}

func (d *document) related(e entry) []Related {
	var all []Related
	if e.value.Tag == "!!null" {
		return nil
	}
	for _, n := range e.value.Content {
		var one Related
		for _, member := range d.entries(n, e.path) {
			switch member.name {
			case "id":
				one.ID = d.text(member)
			case "type":
				one.Type = d.text(member)
			}
		}
		all = append(all, one)
	}
	return all
}

// logSource reads what the rule is meant for. Sigma allows further keys, for people.
func (d *document) logSource(e entry) LogSource {
	var l LogSource
	for _, member := range d.entries(e.value, e.path) {
		switch member.name {
		case "category":
			l.Category = d.text(member)
		case "product":
			l.Product = d.text(member)
		case "service":
			l.Service = d.text(member)
		case "definition":
			l.Definition = d.text(member)
		}
	}
	if l.Category == "" && l.Product == "" && l.Service == "" {
		d.refuse(e.key, e.path, "needs a category, a product or a service")
	}
	return l
}

// custom keeps a key that Sigma doesn't know.
func (d *document) custom(h *Header, e entry) {
	var value any
	if err := e.value.Decode(&value); err != nil {
		d.refuse(e.value, e.path, "can't be read: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if h.Custom == nil {
		h.Custom = make(map[string]any)
	}
	h.Custom[e.name] = value
}
