package conformance_test

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma/conformance"
)

// object is what the schema says of a mapping.
type object struct {
	Properties map[string]struct {
		Ref string `json:"$ref"`
	} `json:"properties"`
	Defs map[string]object `json:"$defs"`
}

// TestSchema holds the schema to the keys that are read.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema object
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	short := []string{"detection", "rule"} // short forms of documents
	for name, want := range map[string][]string{
		"case":    slices.Sorted(slices.Values(append(keys(reflect.TypeFor[conformance.Case]()), short...))),
		"source":  keys(reflect.TypeFor[conformance.Source]()),
		"arrival": keys(reflect.TypeFor[conformance.Arrival]()),
		"alert":   keys(reflect.TypeFor[conformance.Alert]()),
	} {
		var got []string
		for key := range schema.Defs[name].Properties {
			got = append(got, key)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: keys differ (-read +schema):\n%s", name, diff)
		}
	}
}

// keys lists the keys of YAML that a struct is read from.
func keys(of reflect.Type) []string {
	var names []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
