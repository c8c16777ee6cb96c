package sigma

import (
	"slices"
	"strings"
)

// header reads one top-level key.
func (d *document) header(r *Rule, e entry) {
	switch e.name {
	case "title":
		if r.Title = d.text(e); strings.TrimSpace(r.Title) == "" {
			d.refuse(e.value, e.path, "is empty")
		}
	case "id":
		r.ID = d.text(e)
	case "name":
		r.Name = d.text(e)
	case "status":
		r.Status = d.oneOf(e, "stable", "test", "experimental", "deprecated", "unsupported")
	case "level":
		r.Level = d.oneOf(e, "informational", "low", "medium", "high", "critical")
	case "description":
		r.Description = d.text(e)
	case "license":
		r.License = d.text(e)
	case "author":
		r.Author = d.text(e)
	case "date":
		r.Date = d.text(e)
	case "modified":
		r.Modified = d.text(e)
	case "taxonomy":
		d.oneOf(e, "sigma")
	default:
		d.body(r, e)
	}
}

// body reads the top-level keys that hold more than text.
func (d *document) body(r *Rule, e entry) {
	switch e.name {
	case "references":
		r.References = d.texts(e)
	case "tags":
		r.Tags = d.texts(e)
	case "falsepositives":
		r.FalsePositives = d.texts(e)
	case "fields":
		r.Fields = d.texts(e)
	case "scope":
		r.Scope = d.texts(e)
	case "related":
		r.Related = d.related(e)
	case "logsource":
		r.LogSource = d.logSource(e)
	case "detection":
		d.detection(r, e)
	default:
		d.custom(r, e)
	}
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

func (d *document) custom(r *Rule, e entry) {
	var value any
	if err := e.value.Decode(&value); err != nil {
		d.refuse(e.value, e.path, "can't be read: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if r.Custom == nil {
		r.Custom = make(map[string]any)
	}
	r.Custom[e.name] = value
}
