package aws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// LargestManaged is how many characters a managed policy may have, white space not counted.
	LargestManaged = 6144
	// LargestInline is how many the inline policies of one role may have together.
	LargestInline = 10240
	// mostManaged is how many managed policies a role may have without a raised quota.
	mostManaged = 10
)

// Document is an IAM policy.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement is one of a policy. The order of its fields is that in which people write them.
type Statement struct {
	Sid         string                         `json:",omitempty"`
	Effect      string                         `json:",omitempty"`
	Action      []string                       `json:",omitempty"`
	NotAction   []string                       `json:",omitempty"`
	Resource    []string                       `json:",omitempty"`
	NotResource []string                       `json:",omitempty"`
	Condition   map[string]map[string][]string `json:",omitempty"`
}

// Policy is the document that grants exactly what is needed, with a statement for each kind of resource. The
// same needs give the same document.
func Policy(needs []Need) Document {
	byPlace := map[string]*Statement{}
	for _, need := range needs {
		key := need.Resource + "|" + fmt.Sprint(need.Conditions)
		known, ok := byPlace[key]
		if !ok {
			known = &Statement{Effect: "Allow", Resource: []string{need.Resource}, Condition: need.Conditions}
			byPlace[key] = known
		}
		if !slices.Contains(known.Action, need.Permission) {
			known.Action = append(known.Action, need.Permission)
		}
	}
	return Document{Version: "2012-10-17", Statement: merged(byPlace)}
}

// merged gives statements that allow the same under the same conditions as one; all is sorted, and each has an
// id that says what it is about.
func merged(byPlace map[string]*Statement) []Statement {
	same := map[string]*Statement{}
	for _, place := range slices.Sorted(maps.Keys(byPlace)) {
		one := byPlace[place]
		slices.Sort(one.Action)
		key := strings.Join(one.Action, ",") + "|" + fmt.Sprint(one.Condition)
		if known, ok := same[key]; ok {
			known.Resource = append(known.Resource, one.Resource...)
			continue
		}
		same[key] = one
	}
	list := make([]Statement, 0, len(same))
	for _, key := range slices.Sorted(maps.Keys(same)) {
		list = append(list, *same[key])
	}
	used := map[string]int{}
	for i := range list {
		id := sid(list[i])
		used[id]++
		if used[id] > 1 {
			id += strconv.Itoa(used[id])
		}
		list[i].Sid = id
	}
	return list
}

// Text is the document as indented JSON.
func (d Document) Text() ([]byte, error) {
	var text bytes.Buffer
	pretty := json.NewEncoder(&text)
	pretty.SetEscapeHTML(false)
	pretty.SetIndent("", "  ")
	if err := pretty.Encode(d); err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return text.Bytes(), nil
}

// Size is how many characters AWS counts. Places that a template fills in count as what they are at most.
func (d Document) Size() int {
	var text bytes.Buffer
	dense := json.NewEncoder(&text)
	dense.SetEscapeHTML(false)
	if err := dense.Encode(d); err != nil {
		return 0 // strings and maps of strings can always be encoded
	}
	longest := strings.NewReplacer(partitionSymbol, "aws-us-gov", accountSymbol, "000000000000", "\n", "")
	return len([]rune(longest.Replace(text.String())))
}

// Split divides a document into as few in a row as limit lets, in their order. It is of kind Invalid where a
// role couldn't have so many policies.
func (d Document) Split(limit int) ([]Document, error) {
	var pieces []Statement
	for _, s := range d.Statement {
		cut, err := s.cut(limit)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, cut...)
	}
	var all []Document
	for _, piece := range pieces {
		if last := len(all) - 1; last >= 0 {
			longer := Document{d.Version, append(slices.Clone(all[last].Statement), piece)}
			if longer.Size() <= limit {
				all[last] = longer
				continue
			}
		}
		all = append(all, Document{d.Version, []Statement{piece}})
	}
	if len(all) > mostManaged {
		return nil, fault.WithHint(fault.New(fault.Invalid, "the policy needs %d managed policies; a role has %d", len(all), mostManaged),
			"give fewer regions, or none")
	}
	return all, nil
}

// cut halves a statement until each part fits into a document of its own.
func (s Statement) cut(limit int) ([]Statement, error) {
	if (Document{"2012-10-17", []Statement{s}}).Size() <= limit-len("Part99") {
		return []Statement{s}, nil
	}
	first, second := s, s
	switch {
	case len(s.Resource) > 1 && len(s.Resource) >= len(s.Action):
		half := len(s.Resource) / 2
		first.Resource, second.Resource = s.Resource[:half], s.Resource[half:]
	case len(s.Action) > 1:
		half := len(s.Action) / 2
		first.Action, second.Action = s.Action[:half], s.Action[half:]
	default:
		return nil, fault.New(fault.Invalid, "the statement about %.200s is longer than %d characters", s.Resource[0], limit)
	}
	var all []Statement
	for _, half := range []Statement{first, second} {
		parts, err := half.cut(limit)
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	for i := range all {
		all[i].Sid = s.Sid + "Part" + strconv.Itoa(i+1)
	}
	return all, nil
}

// sid names a statement by the service and the kind of its first resource: IamUser, Ec2Instance, SqsQueue.
func sid(s Statement) string {
	service, _, _ := strings.Cut(s.Action[0], ":")
	parsed, err := arn.Parse(s.Resource[0])
	if err != nil {
		return "AnyResource"
	}
	kind, _, divided := strings.Cut(parsed.Resource, "/")
	if service == "s3" && divided {
		kind = "object"
	} else if !divided {
		kind = map[string]string{"s3": "bucket", "sqs": "queue", "sns": "topic"}[service]
	}
	return title(service) + title(kind)
}

// title gives a word with a capital letter and nothing but letters and digits, as IAM wants it.
func title(word string) string {
	var b strings.Builder
	upper := true
	for _, r := range word {
		switch {
		case r >= 'a' && r <= 'z' && upper:
			b.WriteRune(r - 'a' + 'A')
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			upper = true
			continue
		}
		upper = false
	}
	return b.String()
}
