package awslog

import (
	_ "embed" // the table
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/riposte-sec/riposte/internal/entity"
)

// table says what calls act upon. A line that is not indented names an event source; the lines below it name
// one or more of its APIs, or "*" for all others, and after a colon a list, separated by commas, of kinds
// of entity, each with the paths in the record that give it. Lines indented further go on with the last.
//
//	user q.userName r.user.userName    a target; the paths are all looked at
//	~policy q.policyArn                named by the call, but not acted upon: its part is context
//	object q.bucketName+q.key          two values, joined by a slash
//	resource(events:rule/) q.name      an ARN of the service's, built from the value
//	ec2 q.resourceId                   the kind follows from the id: i-..., vol-...
//
// q stands for requestParameters, r for responseElements, d for additionalEventData, s for
// serviceEventDetails; other paths start at the record. Lists on the way are looked through.
//
//go:embed targets.txt
var table string

// roots are the short names that paths may begin with.
var roots = map[string]string{
	"q": "requestParameters", "r": "responseElements", "d": "additionalEventData", "s": "serviceEventDetails",
}

// target is one path of the table that gives entities of a kind.
type target struct {
	kind  entity.Kind // byPrefix where the id says it
	part  entity.Part
	path  []string
	tail  []string // a second path whose value is joined on
	from  string   // the path as a reader writes it
	build string   // service:prefix of the ARN to build, "" to take the value as it is
}

// targets gives the compiled table: event source, API, targets.
var targets = sync.OnceValue(func() map[string]map[string][]target { return readTable(table) })

// readTable reads a table. It is ours, so a mistake in it panics.
func readTable(text string) map[string]map[string][]target {
	services := map[string]map[string][]target{}
	var calls map[string][]target
	text = strings.ReplaceAll(text, "\n      ", " ") // join lines that go on
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch names, list, ok := strings.Cut(line, ": "); {
		case line == "" || line[0] == '#':
		case line[0] != ' ':
			if services[line] != nil {
				panic("targets: " + line + " stands twice")
			}
			calls = map[string][]target{}
			services[line] = calls
		case !ok || calls == nil:
			panic("targets: no list in " + line)
		default:
			compiled := compile(list)
			for name := range strings.FieldsSeq(names) {
				if calls[name] != nil {
					panic("targets: " + name + " stands twice")
				}
				calls[name] = compiled
			}
		}
	}
	return services
}

// compile reads one list of the table.
func compile(text string) []target {
	var list []target
	for item := range strings.SplitSeq(text, ",") {
		words := strings.Fields(item)
		if len(words) < 2 {
			panic(fmt.Sprintf("targets: %q is not a kind and its paths", item))
		}
		name, context := strings.CutPrefix(words[0], "~")
		name, build, _ := strings.Cut(strings.TrimSuffix(name, ")"), "(")
		t := target{kind: entity.Kind(name), part: entity.Target, build: build}
		if context {
			t.part = entity.Context
		}
		if name == "ec2" {
			t.kind = byPrefix
		} else if !slices.Contains(entity.Kinds(), t.kind) {
			panic(fmt.Sprintf("targets: %q is not a kind of entity", name))
		}
		for _, path := range words[1:] {
			head, tail, joined := strings.Cut(path, "+")
			t.path, t.tail, t.from = full(head), nil, strings.Join(full(head), ".")
			if joined {
				t.tail = full(tail)
				t.from += "+" + strings.Join(t.tail, ".")
			}
			list = append(list, t)
		}
	}
	return list
}

func full(path string) []string {
	steps := strings.Split(path, ".")
	if root, short := roots[steps[0]]; short {
		steps[0] = root
	}
	return steps
}

// targetsOf gives what the table says of an API of an event source, and whether it names the API itself
// rather than only its service.
func targetsOf(source, name string) (list []target, listed bool) {
	calls := targets()[strings.TrimSuffix(source, ".amazonaws.com")]
	if list, listed = calls[unversioned(name)]; listed {
		return list, true
	}
	return calls["*"], false
}

// unversioned takes the API's version off a name such as CreateFunction20150331 or GetFunction20150331v2.
func unversioned(name string) string {
	base := name
	if i := strings.LastIndexByte(name, 'v'); i > 0 && i == len(name)-2 {
		base = name[:i]
	}
	bare := strings.TrimRight(base, "0123456789_")
	if len(base)-len(bare) < len("20060102") {
		return name
	}
	return bare
}

// Listed reports whether the table of targets knows an API by name.
func Listed(source, name string) bool {
	_, listed := targetsOf(source, name)
	return listed
}
