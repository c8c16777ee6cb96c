package action

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Difference is one place where two states differ. A value that is absent is "".
type Difference struct {
	Path string `json:"path"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// Differences compares two JSON documents leaf by leaf, sorted by path.
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
		if before[path] != after[path] {
			found = append(found, Difference{Path: path, Was: before[path], Is: after[path]})
		}
	}
	return found
}

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

func leaves(document json.RawMessage) map[string]string {
	found := map[string]string{}
	var v any
	if len(document) == 0 || json.Unmarshal(document, &v) != nil {
		return found
	}
	walk("", v, found)
	return found
}

func walk(path string, v any, found map[string]string) {
	switch value := v.(type) {
	case map[string]any:
		for key, child := range value {
			walk(strings.TrimPrefix(path+"."+key, "."), child, found)
		}
	case []any:
		for i, child := range value {
			walk(path+"["+strconv.Itoa(i)+"]", child, found)
		}
	case nil:
	case string:
		found[path] = value
	default:
		text, err := json.Marshal(value)
		if err == nil {
			found[path] = string(text)
		}
	}
}
