package aws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// largestPolicyFile is in bytes.
	largestPolicyFile = 1 << 20
	// mostPolicyFiles is how many files of a folder are read.
	mostPolicyFiles = 1000
)

// ReadPolicies reads the policies in a file, or in the files below a folder: policies as JSON, CloudFormation
// templates, and the JSON within Terraform files. Who may assume a role is not looked at. It is of kind
// Invalid where there is no policy, or one that can't be understood.
func ReadPolicies(path string) ([]Document, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, fmt.Errorf("read policies: %w", err))
	}
	files := []string{path}
	if about.IsDir() {
		if files, err = policyFiles(path); err != nil {
			return nil, err
		}
	}
	var all []Document
	for _, file := range files {
		found, err := readPolicyFile(file)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 && !about.IsDir() {
			return nil, fault.WithHint(fault.New(fault.Invalid, "%s: there is no policy in it", file),
				"it is JSON, a CloudFormation template, or Terraform with the policy as JSON in a heredoc, as riposte permissions writes it")
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Invalid, "%s: there is no policy below it", path)
	}
	return all, nil
}

// policyFiles lists the files below a folder that may hold policies. What is hidden is passed over, such as
// what Terraform fetched.
func policyFiles(folder string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		hidden := path != folder && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			return err
		case entry.IsDir() && hidden:
			return fs.SkipDir
		case entry.Type().IsRegular() && !hidden && slices.Contains([]string{".json", ".yaml", ".yml", ".template", ".tf"}, filepath.Ext(path)):
			files = append(files, path)
		}
		if len(files) > mostPolicyFiles {
			return fault.New(fault.Invalid, "there are more than %d files", mostPolicyFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read policies below %s: %w", folder, err)
	}
	return files, nil
}

func readPolicyFile(path string) ([]Document, error) {
	about, err := os.Stat(path)
	if err == nil && about.Size() > largestPolicyFile {
		err = fault.New(fault.Invalid, "it has over %d bytes", largestPolicyFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path) //nolint:gosec // whoever runs the command names it
	}
	var found []Document
	if err == nil {
		found, err = parsePolicies(text, filepath.Ext(path) == ".tf")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

// parsePolicies finds the policies in a text: JSON or YAML, or Terraform with JSON in heredocs.
func parsePolicies(text []byte, terraform bool) ([]Document, error) {
	texts := []string{string(text)}
	if terraform {
		texts = heredocs(string(text))
	}
	var all []Document
	for _, one := range texts {
		var dense bytes.Buffer
		if json.Compact(&dense, []byte(one)) == nil { // it may be indented by tabs, which YAML takes for a mistake
			one = dense.String()
		}
		var whole yaml.Node
		if err := yaml.Unmarshal([]byte(one), &whole); err != nil { // JSON is YAML as well
			return nil, fault.Wrap(fault.Invalid, fmt.Errorf("neither JSON nor YAML: %w", err))
		}
		if len(whole.Content) == 0 {
			continue
		}
		plain, err := plainNode(whole.Content[0], 0)
		if err != nil {
			return nil, err
		}
		if all, err = gatherPolicies(plain, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var (
	heredocStart = shaped(`<<-?\s*([A-Za-z_][A-Za-z0-9_-]*)\s*$`)
	// interpolation is one of Terraform's or of CloudFormation's, or one that is escaped.
	interpolation = shaped(`\$?\$\{(!?)([^}]*)\}`)
)

// heredocs gives the JSON objects that stand in a Terraform file's heredocs.
func heredocs(text string) []string {
	var found []string
	var body []string
	end := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case end == "":
			if start := heredocStart.FindStringSubmatch(line); start != nil {
				end, body = start[1], nil
			}
		case strings.TrimSpace(line) == end:
			if one := strings.TrimSpace(strings.Join(body, "\n")); strings.HasPrefix(one, "{") {
				found = append(found, strings.ReplaceAll(places(one), "%%{", "%{"))
			}
			end = ""
		default:
			body = append(body, line)
		}
	}
	return found
}

// places puts our symbols where a template fills in account and partition, and undoes escapes.
func places(text string) string {
	return interpolation.ReplaceAllStringFunc(text, func(found string) string {
		parts := interpolation.FindStringSubmatch(found)
		name := strings.ToLower(parts[2])
		switch {
		case strings.HasPrefix(found, "$$"): // of Terraform
			return found[1:]
		case parts[1] == "!": // of CloudFormation
			return "${" + parts[2] + "}"
		case strings.Contains(name, "partition"):
			return partitionSymbol
		case strings.Contains(name, "account"):
			return accountSymbol
		}
		return found
	})
}

// deepestNode is how many levels a policy's file may have.
const deepestNode = 60

// plainNode makes maps, lists and texts of a node. Of CloudFormation's functions Sub fills in places; others
// stand for what nobody knows here.
func plainNode(n *yaml.Node, depth int) (any, error) {
	if depth > deepestNode || n.Kind == yaml.AliasNode {
		return nil, fault.New(fault.Invalid, "line %d: too deep, or an alias", n.Line)
	}
	switch n.Kind { //nolint:exhaustive // all others are one word, or refused above
	case yaml.MappingNode:
		return plainMapping(n, depth)
	case yaml.SequenceNode:
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") && n.Tag != "!Sub" {
			return "${" + n.Tag + "}", nil
		}
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			one, err := plainNode(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		if n.Tag == "!Sub" && len(list) > 0 {
			return substituted(list[0]), nil
		}
		return list, nil
	}
	switch {
	case n.Tag == "!Sub":
		return places(n.Value), nil
	case n.Tag == "!Ref":
		return places("${" + n.Value + "}"), nil
	case strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!"):
		return "${" + n.Tag + " " + n.Value + "}", nil
	}
	return n.Value, nil
}

func plainMapping(n *yaml.Node, depth int) (any, error) {
	made := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value, err := plainNode(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		made[n.Content[i].Value] = value
	}
	if len(made) != 1 {
		return made, nil
	}
	if text, is := made["Fn::Sub"]; is {
		return substituted(text), nil
	}
	if name, is := made["Ref"].(string); is {
		return places("${" + name + "}"), nil
	}
	for name := range made {
		if strings.HasPrefix(name, "Fn::") {
			return "${" + name + "}", nil
		}
	}
	return made, nil
}

// substituted is what Sub makes of its text, or of the text in its list.
func substituted(v any) string {
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	text, _ := v.(string)
	return places(text)
}

// gatherPolicies finds the policies below a value that grant something to whoever has them: those without a
// principal.
func gatherPolicies(v any, all []Document) ([]Document, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if all, err = gatherPolicies(item, all); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if statements, is := v["Statement"]; is {
			d, err := document(statements)
			if err != nil {
				return nil, err
			}
			if len(d.Statement) > 0 {
				all = append(all, d)
			}
			return all, nil
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if all, err = gatherPolicies(v[key], all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func document(v any) (Document, error) {
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	d := Document{Version: "2012-10-17"}
	for i, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return d, fault.New(fault.Invalid, "statement %d can't be read here: render the template first", i+1)
		}
		if fields["Principal"] != nil || fields["NotPrincipal"] != nil {
			continue
		}
		s, err := parseStatement(fields)
		if err != nil {
			return d, fault.New(fault.Invalid, "statement %d: %w", i+1, err)
		}
		d.Statement = append(d.Statement, s)
	}
	return d, nil
}

func parseStatement(fields map[string]any) (Statement, error) {
	s := Statement{}
	s.Sid, _ = fields["Sid"].(string)
	s.Effect, _ = fields["Effect"].(string)
	for name, into := range map[string]*[]string{
		"Action": &s.Action, "NotAction": &s.NotAction, "Resource": &s.Resource, "NotResource": &s.NotResource,
	} {
		var err error
		if *into, err = textsOf(fields[name]); err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return s, fault.New(fault.Invalid, "Effect is %.20q, neither Allow nor Deny", s.Effect)
	case (len(s.Action) == 0) == (len(s.NotAction) == 0):
		return s, fault.New(fault.Invalid, "give Action or NotAction")
	case (len(s.Resource) == 0) == (len(s.NotResource) == 0):
		return s, fault.New(fault.Invalid, "give Resource or NotResource")
	}
	conditions, ok := fields["Condition"].(map[string]any)
	if !ok && fields["Condition"] != nil {
		return s, fault.New(fault.Invalid, "Condition is no mapping")
	}
	for operator, keys := range conditions {
		if s.Condition == nil {
			s.Condition = map[string]map[string][]string{}
		}
		named, ok := keys.(map[string]any)
		if !ok {
			return s, fault.New(fault.Invalid, "Condition.%s is no mapping", operator)
		}
		s.Condition[operator] = map[string][]string{}
		for key, values := range named {
			list, err := textsOf(values)
			if err != nil {
				return s, fmt.Errorf("condition %s.%s: %w", operator, key, err)
			}
			s.Condition[operator][key] = list
		}
	}
	return s, nil
}

// textsOf gives a text, or a list of texts, as a list.
func textsOf(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, 0, len(v))
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, fault.New(fault.Invalid, "neither a text nor a list of texts")
			}
			all = append(all, text)
		}
		return all, nil
	}
	return nil, fault.New(fault.Invalid, "neither a text nor a list of texts")
}
