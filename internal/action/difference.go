package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Difference is one place where two states differ. A value that is absent, or null, is "".
type Difference struct {
	Path string `json:"path"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// Differences compares two JSON documents leaf by leaf, sorted by path. It finds none only where they say
// the same: nothing, null, an empty text and an empty list are told apart.
func Differences(was, is json.RawMessage) []Difference {
	before, after := leaves(was), leaves(is)
	paths := map[string]bool{}
	for path := range before {
		paths[path] = true
	}
	for path := range after {
		paths[path] = true
	}
	var found []Difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		old, now := before[path], after[path]
		switch {
		case old.text != now.text:
			found = append(found, Difference{Path: path, Was: old.text, Is: now.text})
		case old != now: // alike for people, such as 1 and "1"
			found = append(found, Difference{Path: path, Was: old.json, Is: now.json})
		}
	}
	return found
}

// leaf is a value without anything below it, for people and exactly.
type leaf struct{ text, json string }

// Describe puts differences into one line, bounded in length.
func Describe(differences []Difference) string {
	const most = 8
	parts := make([]string, 0, most)
	for i, d := range differences {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(differences)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s was %s, is %s", d.Path, quoted(d.Was), quoted(d.Is)))
	}
	return strings.Join(parts, "; ")
}

func quoted(value string) string {
	const longest = 120
	if value == "" {
		return "absent"
	}
	if len(value) > longest {
		value = value[:longest] + "..."
	}
	return strconv.QuoteToGraphic(value)
}

func leaves(document json.RawMessage) map[string]leaf {
	found := map[string]leaf{}
	if len(document) == 0 {
		return found
	}
	var v any
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	if decoder.Decode(&v) != nil {
		return found
	}
	walk("", v, found)
	return found
}

func walk(path string, v any, found map[string]leaf) {
	switch value := v.(type) {
	case map[string]any:
		for key, child := range value {
			walk(strings.TrimPrefix(path+"."+key, "."), child, found)
		}
		if len(value) == 0 {
			found[path] = leaf{"{}", "{}"}
		}
	case []any:
		for i, child := range value {
			walk(path+"["+strconv.Itoa(i)+"]", child, found)
		}
		if len(value) == 0 {
			found[path] = leaf{"[]", "[]"}
		}
	case nil:
		found[path] = leaf{"", "null"}
	case string:
		found[path] = leaf{value, strconv.Quote(value)}
	default:
		text := fmt.Sprint(value) // a number or a truth value, as written
		found[path] = leaf{text, text}
	}
}
