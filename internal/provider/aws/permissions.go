package aws

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Source is what one source reads at AWS.
type Source struct {
	Queue   string   // ARN of the SQS queue
	Buckets []string // ARNs of the buckets whose objects its messages announce
	Keys    []string // ARNs of the KMS keys with which queue and objects are encrypted, if any
}

// Source tells what the queue's source reads, for its policy.
func (q QueueConfig) Source(self Self) (Source, error) {
	place, err := parseQueueURL(q.URL, self)
	if err != nil {
		return Source{}, err
	}
	read := Source{Queue: place.arn(self.Partition)}
	for _, name := range q.Buckets {
		read.Buckets = append(read.Buckets, arn.ARN{Partition: self.Partition, Service: "s3", Resource: name}.String())
	}
	return read, nil
}

// PolicyOptions say for where a policy is. What is empty stands for anywhere.
type PolicyOptions struct {
	Partition string // aws if empty
	Account   string // in which the actions act
	Region    string
	// AssumeRole is the name of the role that is assumed to act in other accounts, Accounts are those.
	AssumeRole string
	Accounts   []string
}

// statement is one of a policy. The order of its fields is that in which people write them.
type statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// Policy renders the IAM policy that lets exactly these actions and sources work, with a statement for each
// kind of resource. The same input gives the same bytes. For the role of a member account, pass no sources
// and no role to assume.
func Policy(specs []action.Spec, sources []Source, o PolicyOptions) ([]byte, error) {
	grants := newGrants(o)
	for _, spec := range specs {
		for _, p := range spec.Permissions {
			if strings.HasPrefix(spec.Name, "aws.") {
				grants.add(p.Name, p.Resource, p.Conditions)
			}
		}
	}
	for _, source := range sources {
		if err := grants.addSource(source); err != nil {
			return nil, err
		}
	}
	if o.AssumeRole != "" {
		accounts := o.Accounts
		if len(accounts) == 0 {
			accounts = []string{"*"}
		}
		for _, account := range accounts {
			grants.add("sts:AssumeRole", "arn:{partition}:iam::"+account+":role/"+o.AssumeRole, nil)
		}
	}
	var text bytes.Buffer
	pretty := json.NewEncoder(&text)
	pretty.SetEscapeHTML(false)
	pretty.SetIndent("", "  ")
	err := pretty.Encode(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", grants.statements()})
	if err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return text.Bytes(), nil
}

// grants collects permissions by resource and conditions.
type grants struct {
	places *strings.Replacer
	byKey  map[string]*statement
}

func newGrants(o PolicyOptions) *grants {
	return &grants{
		places: strings.NewReplacer(
			"{partition}", cmp.Or(o.Partition, "aws"), "{account}", cmp.Or(o.Account, "*"), "{region}", cmp.Or(o.Region, "*")),
		byKey: map[string]*statement{},
	}
}

func (g *grants) add(permission, resource string, conditions map[string]map[string][]string) {
	resource = g.places.Replace(resource)
	placed := g.place(conditions)
	key := resource + "|" + fmt.Sprint(placed) // maps print in the order of their keys
	known, ok := g.byKey[key]
	if !ok {
		known = &statement{Effect: "Allow", Resource: []string{resource}, Condition: placed}
		g.byKey[key] = known
	}
	if !slices.Contains(known.Action, permission) {
		known.Action = append(known.Action, permission)
	}
}

// place fills in conditions where they name places, such as in the ARN of a resource.
func (g *grants) place(conditions map[string]map[string][]string) map[string]map[string][]string {
	if len(conditions) == 0 {
		return nil
	}
	placed := map[string]map[string][]string{}
	for operator, keys := range conditions {
		placed[operator] = map[string][]string{}
		for key, values := range keys {
			list := make([]string, 0, len(values))
			for _, value := range values {
				list = append(list, g.places.Replace(value))
			}
			placed[operator][key] = list
		}
	}
	return placed
}

func (g *grants) addSource(s Source) error {
	for _, named := range slices.Concat([]string{s.Queue}, s.Buckets, s.Keys) {
		if !arn.IsARN(named) {
			return fault.New(fault.Invalid, "%q is not an ARN", named)
		}
	}
	for _, name := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"} {
		g.add(name, s.Queue, nil)
	}
	for _, bucket := range s.Buckets {
		g.add("s3:GetObject", bucket+"/*", nil)
	}
	for _, key := range s.Keys {
		g.add("kms:Decrypt", key, nil)
	}
	return nil
}

// statements gives what was collected: statements that allow the same under the same conditions are one,
// all is sorted, and each has an id that says what it is about.
func (g *grants) statements() []statement {
	merged := map[string]*statement{}
	for _, key := range slices.Sorted(maps.Keys(g.byKey)) {
		one := g.byKey[key]
		slices.Sort(one.Action)
		same := strings.Join(one.Action, ",") + "|" + fmt.Sprint(one.Condition)
		if known, ok := merged[same]; ok {
			known.Resource = append(known.Resource, one.Resource...)
			continue
		}
		merged[same] = one
	}
	list := make([]statement, 0, len(merged))
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, *merged[key])
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

// sid names a statement by the service and the kind of its first resource: IamUser, Ec2Instance, SqsQueue.
func sid(s statement) string {
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
