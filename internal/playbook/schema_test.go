package playbook_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/playbook"
)

func compiled(t *testing.T, in playbook.Installation) *jsonschema.Schema {
	t.Helper()
	text, err := playbook.Schema(in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := playbook.Schema(in)
	if err != nil || !bytes.Equal(text, again) {
		t.Fatalf("the schema is another one the second time: %v", err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("playbook.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("playbook.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds a file against a schema, as an editor reads it.
func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var plain map[string]any
	doc, err := document.Parse("a.yaml", []byte(text))
	if err != nil {
		return err
	}
	if err := doc.Decode(&plain); err != nil {
		return err
	}
	written, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

func TestSchemaTakesWhatIsShipped(t *testing.T) {
	t.Parallel()
	everybody := append(slices.Clone(roles), "compliance_officer")
	schema := compiled(t, playbook.Installation{Actions: app.AllSpecs(app.Defaults()), Roles: everybody})
	files, err := fs.Glob(content.Files, "playbooks/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d shipped playbooks, %v", len(files), err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(content.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		if err := validate(t, schema, string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// byShape are the mistakes that the shape of a file shows. The others need what stands elsewhere in it.
var byShape = regexp.MustCompile(`there is no such key|is not one of|a step does one thing|a step has (use|either)|` +
	`needs the parameter|is no (action|parameter|role|rotation)|a loop has (a bound|steps)|a switch has cases|` +
	`a name is lower-case|id is lower-case|name is lower-case|as vars\.<name>|between 1 and|say how long at most|` +
	`without a time in within|is (text|the number|true or false|a list|a mapping), not|is not a duration|write a duration|say in one sentence|` +
	`an input that is required`)

func TestSchemaAgreesWithTheParser(t *testing.T) {
	t.Parallel()
	schema := compiled(t, playbook.Installation{Actions: specs(), Roles: roles, Rotations: []string{"security"}})
	files, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mistakes to read: %v", err)
	}
	took, refused := 0, 0
	if err := validate(t, schema, whole); err != nil {
		t.Error(err)
	}
	for _, file := range files {
		archive, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, parts := split(string(archive))
		for _, part := range parts {
			if strings.HasSuffix(part.name, ".errors") {
				continue
			}
			says := wrong(t, part)
			err := validate(t, schema, part.text)
			switch {
			case says == "no error\n":
				took++
				if err != nil {
					t.Errorf("%s: %s: the parser takes it: %v", file, part.name, err)
				}
			case byShape.MatchString(says):
				refused++
				if err == nil {
					t.Errorf("%s: %s: the schema takes what the parser refuses:\n%s", file, part.name, says)
				}
			}
		}
	}
	if refused < 30 {
		t.Errorf("%d taken, %d refused", took, refused)
	}
}

// Every key that the parser knows is explained to who hovers over it, wherever the schema has properties.
func TestSchemaExplainsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := playbook.Schema(playbook.Installation{})
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var look func(at string, v any)
	look = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if properties, is := v["properties"].(map[string]any); is && v["additionalProperties"] == false {
				for key, one := range properties {
					keys++
					if one, is := one.(map[string]any); !is || one["description"] == nil {
						t.Errorf("%s.%s says nothing", at, key)
					}
				}
			}
			for key, one := range v {
				look(at+"."+key, one)
			}
		case []any:
			for _, one := range v {
				look(at, one)
			}
		}
	}
	look("", schema)
	if keys < 60 {
		t.Errorf("%d keys", keys)
	}
}
