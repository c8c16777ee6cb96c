// Package deploy_test checks what is deployed with Riposte, without a cloud.
package deploy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// call is one of CloudFormation's functions in a template, such as !Ref or !GetAtt.
type call struct {
	name string
	with any
}

// template is a CloudFormation template with its functions as they stand.
type template struct {
	parameters, conditions, resources, outputs map[string]any
}

func read(t *testing.T) template {
	t.Helper()
	return readFile(t, "aws/riposte.yaml")
}

func readFile(t *testing.T, path string) template {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	whole, ok := plain(t, root.Content[0]).(map[string]any)
	if !ok {
		t.Fatal("the template is no mapping")
	}
	section := func(name string) map[string]any {
		is, _ := whole[name].(map[string]any)
		if len(is) == 0 && name != "Conditions" {
			t.Fatalf("the template has no %s", name)
		}
		return is
	}
	return template{section("Parameters"), section("Conditions"), section("Resources"), section("Outputs")}
}

// plain makes maps, lists, texts and calls of a node.
func plain(t *testing.T, n *yaml.Node) any {
	t.Helper()
	var made any
	switch n.Kind {
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := all[key]; twice {
				t.Errorf("line %d: %s stands twice", n.Content[i].Line, key)
			}
			all[key] = plain(t, n.Content[i+1])
		}
		made = all
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, plain(t, item))
		}
		made = list
	case yaml.ScalarNode:
		made = n.Value
	case yaml.DocumentNode, yaml.AliasNode:
		t.Fatalf("line %d: an alias", n.Line)
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return call{strings.TrimPrefix(n.Tag, "!"), made}
	}
	return made
}

// walk visits all calls below a value, outermost first.
func walk(v any, visit func(call)) {
	switch v := v.(type) {
	case call:
		visit(v)
		walk(v.with, visit)
	case map[string]any:
		for _, item := range v {
			walk(item, visit)
		}
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	}
}

// names gives what a call refers to.
func (c call) names(t *testing.T) []string {
	t.Helper()
	text, _ := c.with.(string)
	list, _ := c.with.([]any)
	switch c.name {
	case "Ref", "Condition":
		return []string{text}
	case "GetAtt":
		name, attribute, found := strings.Cut(text, ".")
		if !found || attribute == "" {
			t.Errorf("!GetAtt %s names no attribute", text)
		}
		return []string{name}
	case "Sub":
		var all []string
		for _, part := range strings.Split(text, "${")[1:] {
			name, _, closed := strings.Cut(part, "}")
			if !closed {
				t.Errorf("!Sub %q isn't closed", text)
			}
			all = append(all, strings.Split(name, ".")[0])
		}
		return all
	case "If":
		if len(list) != 3 {
			t.Fatalf("!If has %d parts, want 3", len(list))
		}
		name, _ := list[0].(string)
		return []string{name}
	case "Not", "Equals":
		return nil
	}
	t.Errorf("!%s is not known to the test", c.name)
	return nil
}

func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"aws/riposte.yaml", "aws/lambda.yaml"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			resolves(t, readFile(t, path))
		})
	}
}

func resolves(t *testing.T, tmpl template) {
	t.Helper()
	pseudo := []string{"AWS::AccountId", "AWS::Partition", "AWS::NoValue", "AWS::Region", "AWS::StackName"}
	used := map[string]bool{}
	walk([]any{tmpl.conditions, tmpl.resources, tmpl.outputs}, func(c call) {
		for _, name := range c.names(t) {
			used[name] = true
			_, isCondition := tmpl.conditions[name]
			_, isParameter := tmpl.parameters[name]
			_, isResource := tmpl.resources[name]
			known := isResource || isParameter || slices.Contains(pseudo, name)
			if c.name == "If" || c.name == "Condition" {
				known = isCondition
			}
			if c.name == "GetAtt" {
				known = isResource
			}
			if !known {
				t.Errorf("!%s %s: there is no %s", c.name, name, name)
			}
		}
	})
	for name, resource := range tmpl.resources {
		if when, has := resource.(map[string]any)["Condition"].(string); has {
			if used[when] = true; tmpl.conditions[when] == nil {
				t.Errorf("%s: there is no condition %s", name, when)
			}
		}
	}
	for _, section := range []map[string]any{tmpl.parameters, tmpl.conditions} {
		for name := range section {
			if !used[name] {
				t.Errorf("%s is not used", name)
			}
		}
	}
	for name, parameter := range tmpl.parameters {
		if parameter.(map[string]any)["Description"] == nil {
			t.Errorf("the parameter %s has no description", name)
		}
	}
}

// CloudFormation refuses resources that need each other.
func TestResourcesDoNotNeedEachOther(t *testing.T) {
	t.Parallel()
	tmpl := read(t)
	needs := map[string][]string{}
	for name, resource := range tmpl.resources {
		walk(resource, func(c call) {
			for _, other := range c.names(t) {
				if tmpl.resources[other] != nil && c.name != "If" {
					needs[name] = append(needs[name], other)
				}
			}
		})
	}
	var visit func(name string, way []string)
	visit = func(name string, way []string) {
		if slices.Contains(way, name) {
			t.Fatalf("%v need each other", append(way, name))
		}
		for _, other := range needs[name] {
			visit(other, append(slices.Clone(way), name))
		}
	}
	for name := range needs {
		visit(name, nil)
	}
	if len(needs) < 5 {
		t.Errorf("found needs of %d resources", len(needs))
	}
}
