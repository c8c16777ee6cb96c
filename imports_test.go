package riposte_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/riposte-sec/riposte/"

// The map of who may import whom; change it only on purpose. DESIGN: nouns import nouns before them, engines
// import nouns and what all of them share but never each other, providers import nouns and their own SDK,
// and only app imports everything.
var (
	// nouns, each after those that it may import.
	nouns = []string{"fault", "entity", "event", "finding", "incident", "record", "action", "run", "guardrail", "question"}
	// shared is what engines and edges may build on, beside the nouns; each after those it may import.
	shared = []string{"secret", "document", "expr", "playbook", "playbook/graph", "awslog", "cloudevent", "ledger", "courier"}
	// engines are told what they need by interfaces of their own.
	engines = []string{"cacao", "ingest", "detect", "correlate", "triage", "respond", "durable", "channel", "rulecase", "coverage", "approvallink", "oncall", "follow"}
	// edges are where people, programs and disks meet the engines. They declare what they read.
	edges = []string{"store", "store/query", "auth", "api", "api/client", "config", "telemetry", "health", "replay", "lambda", "playcase"}
	// wired may import everything.
	wired = []string{"app", "cli", "demo"}
	// allowed lists what a package may import beyond its layer.
	allowed = map[string][]string{
		"api":        {"auth", "respond", "store", "health", "playcase"},
		"api/client": {"api", "auth"},
		"store":      {"correlate", "triage", "respond", "approvallink", "follow", "store/query"},
		"channel":    {"respond"},
		"playcase":   {"respond", "triage"},
		"telemetry":  {"ingest", "respond", "store", "health", "follow"},
	}
)

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "internal/")
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			imported = strings.TrimPrefix(strings.TrimPrefix(imported, module), "internal/")
			if !may(name, imported) {
				t.Errorf("%s imports %s; the map in imports_test.go does not let it", name, imported)
			}
		}
		if name == "sigma" && slices.ContainsFunc(p.Imports, func(i string) bool { return strings.HasPrefix(i, module) }) {
			t.Error("sigma is a library of its own: it imports nothing of ours")
		}
	}
}

// may reports whether a package may import another one of ours.
func may(name, imported string) bool {
	if slices.Contains(allowed[name], imported) || isTest(name) || name == "cmd/riposte" || slices.Contains(wired, name) {
		return true
	}
	if before, known := earlier(nouns, name); known {
		return slices.Contains(before, imported)
	}
	if slices.Contains(nouns, imported) {
		return name != "sigma" && name != "content"
	}
	if before, known := earlier(shared, name); known {
		return slices.Contains(before, imported)
	}
	switch {
	case strings.HasPrefix(name, "provider/"):
		own := strings.Join(strings.SplitN(name, "/", 3)[:2], "/")
		return imported == own || strings.HasPrefix(imported, own+"/") ||
			slices.Contains([]string{"secret", "awslog", "cloudevent", "courier", "document"}, imported)
	case slices.Contains(engines, name), slices.Contains(edges, name):
		return slices.Contains(shared, imported) || imported == "sigma"
	}
	return false
}

// isTest reports whether a package is there for tests alone.
func isTest(name string) bool {
	return strings.HasSuffix(name, "test") || name == "e2e"
}

func earlier(list []string, name string) ([]string, bool) {
	at := slices.Index(list, name)
	if at < 0 {
		return nil, false
	}
	return list[:at], true
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}
