// Package cacao exchanges playbooks with other tools, as OASIS CACAO Security Playbooks 2.0.
package cacao

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/riposte-sec/riposte/internal/fault"
)

// version is the one version of the format that is read and written.
const version = "cacao-2.0"

const (
	largest   = 1 << 20 // bytes of a file
	deepest   = 40      // levels of JSON
	mostSteps = 1000
	mostDeep  = 40 // branches within branches
)

// The types of steps in a workflow.
const (
	startStep    = "start"
	endStep      = "end"
	actionStep   = "action"
	callStep     = "playbook-action"
	parallelStep = "parallel"
	ifStep       = "if-condition"
	whileStep    = "while-condition"
	switchStep   = "switch-condition"
)

// otherwise is the case of a switch that is taken where no other is so.
const otherwise = "default"

// File is a CACAO playbook, as far as it is read and written here.
type File struct {
	Type        string                     `json:"type"`
	SpecVersion string                     `json:"spec_version"`
	ID          string                     `json:"id"`
	Name        string                     `json:"name"`
	Description string                     `json:"description,omitempty"`
	Types       []string                   `json:"playbook_types,omitempty"`
	CreatedBy   string                     `json:"created_by"`
	Created     string                     `json:"created"`
	Modified    string                     `json:"modified"`
	Severity    int                        `json:"severity,omitempty"`
	Labels      []string                   `json:"labels,omitempty"`
	Variables   map[string]Variable        `json:"playbook_variables,omitempty"`
	Start       string                     `json:"workflow_start"`
	Exception   string                     `json:"workflow_exception,omitempty"`
	Workflow    map[string]*Step           `json:"workflow"`
	Agents      map[string]Party           `json:"agent_definitions,omitempty"`
	Targets     map[string]Party           `json:"target_definitions,omitempty"`
	Definitions map[string]Definition      `json:"extension_definitions,omitempty"`
	Extensions  map[string]json.RawMessage `json:"playbook_extensions,omitempty"`
}

// Step is one step of a workflow.
type Step struct {
	Type         string                     `json:"type"`
	Name         string                     `json:"name,omitempty"`
	Description  string                     `json:"description,omitempty"`
	Delay        int64                      `json:"delay,omitempty"`   // milliseconds
	Timeout      int64                      `json:"timeout,omitempty"` // milliseconds
	OnCompletion string                     `json:"on_completion,omitempty"`
	OnSuccess    string                     `json:"on_success,omitempty"`
	OnFailure    string                     `json:"on_failure,omitempty"`
	Commands     []Command                  `json:"commands,omitempty"`
	Agent        string                     `json:"agent,omitempty"`
	Targets      []string                   `json:"targets,omitempty"`
	In           []string                   `json:"in_args,omitempty"`
	Out          []string                   `json:"out_args,omitempty"`
	Variables    map[string]Variable        `json:"step_variables,omitempty"`
	PlaybookID   string                     `json:"playbook_id,omitempty"`
	Next         []string                   `json:"next_steps,omitempty"`
	Condition    string                     `json:"condition,omitempty"`
	OnTrue       string                     `json:"on_true,omitempty"`
	OnFalse      string                     `json:"on_false,omitempty"`
	Switch       string                     `json:"switch,omitempty"`
	Cases        map[string]string          `json:"cases,omitempty"`
	Extensions   map[string]json.RawMessage `json:"step_extensions,omitempty"`
}

// Command is what an agent is told to do.
type Command struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
	Command     string `json:"command,omitempty"`
	CommandB64  string `json:"command_b64,omitempty"`
}

// Variable is a value that steps hand each other.
type Variable struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
	External    bool   `json:"external,omitempty"`
}

// Party is an agent or a target.
type Party struct {
	Type        string   `json:"type"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Category    []string `json:"category,omitempty"`
}

// Definition says what an extension is.
type Definition struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	CreatedBy   string `json:"created_by"`
	Schema      string `json:"schema"`
	Version     string `json:"version"`
}

// space is where our identifiers are from: each is the UUIDv5 of a name in it.
var space = uuid.MustParse("6f1d7d0e-4a3c-5d0b-9c64-0d5a2c9b7e11") //nolint:gochecknoglobals // a constant

// identifier gives the identifier of a thing by its type and its name.
func identifier(kind string, name ...string) string {
	return kind + "--" + uuid.NewSHA1(space, []byte(strings.Join(append([]string{kind}, name...), "\n"))).String()
}

// extension is the identifier of what we add to the format.
var extension = identifier("extension-definition", "riposte") //nolint:gochecknoglobals // a constant

// Read reads a CACAO playbook that anybody may have written, and checks its workflow.
func Read(text []byte) (*File, error) {
	if len(text) > largest {
		return nil, fault.New(fault.Invalid, "a CACAO playbook of %d bytes; at most %d are read", len(text), largest)
	}
	if err := sound(text); err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fault.New(fault.Invalid, "this is no CACAO playbook: %w", err)
	}
	switch {
	case f.Type != "playbook":
		return nil, fault.New(fault.Invalid, "this is no CACAO playbook: its type is %q", bounded(f.Type, 40))
	case f.SpecVersion != version:
		return nil, fault.WithHint(fault.New(fault.Invalid, "version %q of CACAO is not read", bounded(f.SpecVersion, 40)), "convert it to "+version)
	}
	return &f, f.Check()
}

// sound refuses JSON that is nested too deep, or that says a key twice: readers differ in which they take.
func sound(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var keys []map[string]bool // of the objects around, nil for a list
	key := false               // whether the next word of the innermost object is a key
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.New(fault.Invalid, "this is no JSON: %w", err)
		}
		switch word := token.(type) {
		case json.Delim:
			switch word {
			case '{':
				keys, key = append(keys, map[string]bool{}), true
			case '[':
				keys, key = append(keys, nil), false
			default:
				keys = keys[:len(keys)-1]
				key = len(keys) > 0 && keys[len(keys)-1] != nil
			}
			if len(keys) > deepest {
				return fault.New(fault.Invalid, "JSON of more than %d levels is not read", deepest)
			}
			continue
		case string:
			if key {
				if keys[len(keys)-1][word] {
					return fault.New(fault.Invalid, "the key %q stands twice in one object", bounded(word, 80))
				}
				keys[len(keys)-1][word], key = true, false
				continue
			}
		}
		key = len(keys) > 0 && keys[len(keys)-1] != nil
	}
}

// Write gives the file as text.
func (f *File) Write() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(f); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
