package aws_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

func TestPolicyGrantsWhatActionsAndSourcesNeed(t *testing.T) {
	specs := []action.Spec{
		{Name: "aws.iam.b", Permissions: []action.Permission{
			{Name: "iam:PutUserPolicy", Resource: "arn:{partition}:iam::{account}:user/*"},
			{Name: "iam:GetUser", Resource: "arn:{partition}:iam::{account}:user/*"},
			{Name: "iam:PutUserPolicy", Resource: "arn:{partition}:iam::{account}:user/*"},
		}},
		{Name: "aws.ec2.a", Permissions: []action.Permission{
			{Name: "ec2:DescribeInstances", Resource: "*"},
			{Name: "ec2:StopInstances", Resource: "arn:{partition}:ec2:{region}:{account}:instance/*", Conditions: map[string]map[string][]string{
				"StringNotEquals": {"aws:ResourceTag/riposte": {"protected"}},
			}},
		}},
		{Name: "slack.send", Permissions: []action.Permission{{Name: "chat:write", Resource: "*"}}},
	}
	queues := []aws.QueueConfig{{URL: "https://sqs.eu-central-1.amazonaws.com/123456789012/riposte", Buckets: []string{"b", "a"}}}
	needs, err := aws.Config{AssumeRole: "riposte-responder"}.Needs(
		aws.Asked{Part: aws.Home, At: aws.Places{Account: "123456789012"}, Role: "riposte"}, duties(specs), queues)
	if err != nil {
		t.Fatal(err)
	}
	got := policyText(t, aws.Policy(needs))
	const want = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "AnyResource",
      "Effect": "Allow",
      "Action": [
        "ec2:DescribeInstances"
      ],
      "Resource": [
        "*"
      ]
    },
    {
      "Sid": "Ec2Instance",
      "Effect": "Allow",
      "Action": [
        "ec2:StopInstances"
      ],
      "Resource": [
        "arn:aws:ec2:*:123456789012:instance/*"
      ],
      "Condition": {
        "StringNotEquals": {
          "aws:ResourceTag/riposte": [
            "protected"
          ]
        }
      }
    },
    {
      "Sid": "IamUser",
      "Effect": "Allow",
      "Action": [
        "iam:GetUser",
        "iam:PutUserPolicy"
      ],
      "Resource": [
        "arn:aws:iam::123456789012:user/*"
      ]
    },
    {
      "Sid": "IamRole",
      "Effect": "Allow",
      "Action": [
        "iam:SimulatePrincipalPolicy"
      ],
      "Resource": [
        "arn:aws:iam::123456789012:role/riposte"
      ]
    },
    {
      "Sid": "S3Object",
      "Effect": "Allow",
      "Action": [
        "s3:GetObject"
      ],
      "Resource": [
        "arn:aws:s3:::a/*",
        "arn:aws:s3:::b/*"
      ]
    },
    {
      "Sid": "SqsQueue",
      "Effect": "Allow",
      "Action": [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage"
      ],
      "Resource": [
        "arn:aws:sqs:eu-central-1:123456789012:riposte"
      ]
    },
    {
      "Sid": "StsRole",
      "Effect": "Allow",
      "Action": [
        "sts:AssumeRole"
      ],
      "Resource": [
        "arn:aws:iam::*:role/riposte-responder"
      ]
    }
  ]
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func TestPolicyIsTheSameInAnyOrder(t *testing.T) {
	all := duties(allSpecs())
	first := policyText(t, aws.Policy(must[[]aws.Need](t)(aws.Config{}.Needs(aws.Asked{Part: aws.Home}, all, nil))))
	slices.Reverse(all)
	second := policyText(t, aws.Policy(must[[]aws.Need](t)(aws.Config{}.Needs(aws.Asked{Part: aws.Home}, all, nil))))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the order of the actions shows:\n%s", diff)
	}
	var policy struct{ Statement []struct{ Sid string } }
	if err := json.Unmarshal([]byte(first), &policy); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range policy.Statement {
		if s.Sid == "" || seen[s.Sid] {
			t.Errorf("the id %q is empty or there twice", s.Sid)
		}
		seen[s.Sid] = true
	}
	if strings.Contains(first, "{account}") || strings.Contains(first, "{partition}") || strings.Contains(first, "{region}") {
		t.Errorf("a place is not filled in:\n%s", first)
	}
}

func TestNeedsRefuseWhatIsNone(t *testing.T) {
	for name, ask := range map[string]func() ([]aws.Need, error){
		"no queue": func() ([]aws.Need, error) {
			return aws.Config{}.Needs(aws.Asked{Part: aws.Home}, nil, []aws.QueueConfig{{URL: "riposte"}})
		},
		"no member": func() ([]aws.Need, error) { return aws.Config{}.Needs(aws.Asked{Part: aws.Member}, nil, nil) },
		"no part":   func() ([]aws.Need, error) { return aws.Config{}.Needs(aws.Asked{Part: "guest"}, nil, nil) },
		"no role's name": func() ([]aws.Need, error) {
			return aws.Config{}.Needs(aws.Asked{Part: aws.Home, Role: "a*"}, nil, nil)
		},
	} {
		if _, err := ask(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an error of kind invalid", name, err)
		}
	}
}

func TestRolesNeedWhatTheyDo(t *testing.T) {
	organisation := aws.OrganizationConfig{Enabled: true, Role: "ops/responder", Exclude: aws.AccountFilter{Accounts: []string{"123456789012"}}}
	queues := []aws.QueueConfig{{URL: "https://sqs.eu-central-1.amazonaws.com/123456789012/riposte"}}
	config := aws.Config{Organization: organisation, Accounts: []string{"111122223333", "123456789012"}}
	all := duties(allSpecs())
	names := func(part aws.Part, account string) []string {
		var list []string
		for _, need := range must[[]aws.Need](t)(config.Needs(aws.Asked{Part: part, At: aws.Places{Account: account}}, all, queues)) {
			list = append(list, need.Permission+" "+need.Resource)
		}
		return list
	}
	stop := "ec2:StopInstances arn:aws:ec2:*:444455556666:instance/*"
	assume := "sts:AssumeRole arn:aws:iam::111122223333:role/ops/responder"
	home, member := names(aws.Home, "444455556666"), names(aws.Member, "444455556666")
	for _, want := range []string{stop, assume, "sqs:ReceiveMessage arn:aws:sqs:eu-central-1:123456789012:riposte", "organizations:ListAccounts *"} {
		if !slices.Contains(home, want) {
			t.Errorf("the home role lacks %s", want)
		}
	}
	if slices.ContainsFunc(home, func(n string) bool { return strings.HasSuffix(n, "123456789012:role/ops/responder") }) {
		t.Error("the home role may assume the role of an account that is excluded")
	}
	if !slices.Contains(member, stop) || !slices.Contains(member, "iam:SimulatePrincipalPolicy arn:aws:iam::444455556666:role/ops/responder") {
		t.Errorf("the member role lacks something: %v", member)
	}
	for _, name := range member {
		if strings.HasPrefix(name, "sqs:ReceiveMessage") || strings.HasPrefix(name, "sqs:DeleteMessage") || strings.HasPrefix(name, "sts:") {
			t.Errorf("the member role has %s", name)
		}
	}
	if excluded := names(aws.Home, "123456789012"); slices.ContainsFunc(excluded, func(n string) bool { return strings.HasPrefix(n, "ec2:") }) {
		t.Errorf("the home role acts in an account that is excluded: %v", excluded)
	}
}

func TestNeedsKnowWhatTheyAreFor(t *testing.T) {
	spec := action.Spec{Name: "aws.x.y", Permissions: []action.Permission{
		{Name: "x:Do", Resource: "arn:{partition}:x:{region}:{account}:thing/*", Phase: action.ApplyPhase},
		{Name: "x:Do", Resource: "arn:{partition}:x:{region}:{account}:thing/*", Phase: action.UndoPhase},
	}}
	asked := aws.Asked{Part: aws.Home, At: aws.Places{Partition: "aws-cn", Account: "111122223333", Regions: []string{"cn-north-1", "cn-northwest-1"}}}
	got := must[[]aws.Need](t)(aws.Config{}.Needs(asked, []aws.Duty{{Spec: spec, Uses: []aws.Use{{Playbook: "p", Step: "s"}, {Channel: "c"}}}}, nil))
	uses := []aws.Use{
		{Playbook: "p", Step: "s", Action: "aws.x.y", Phase: action.ApplyPhase},
		{Channel: "c", Action: "aws.x.y", Phase: action.ApplyPhase},
		{Playbook: "p", Step: "s", Action: "aws.x.y", Phase: action.UndoPhase},
		{Channel: "c", Action: "aws.x.y", Phase: action.UndoPhase},
	}
	want := []aws.Need{
		{Permission: "x:Do", Resource: "arn:aws-cn:x:cn-north-1:111122223333:thing/*", Uses: uses},
		{Permission: "x:Do", Resource: "arn:aws-cn:x:cn-northwest-1:111122223333:thing/*", Uses: uses},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
}

func TestQueueTellsWhatItReads(t *testing.T) {
	queue := aws.QueueConfig{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/riposte", Buckets: []string{"trail"}}
	got, err := queue.Source(aws.Self{Partition: "aws", Region: "eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := aws.Source{Queue: "arn:aws:sqs:eu-west-1:123456789012:riposte", Buckets: []string{"arn:aws:s3:::trail"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
}

// allSpecs describes every action; that takes no connection.
func allSpecs() []action.Spec {
	var specs []action.Spec
	for _, do := range new(aws.Cloud).Actions() {
		specs = append(specs, do.Spec())
	}
	return specs
}

// duties are those of actions that somebody uses.
func duties(specs []action.Spec) []aws.Duty {
	var all []aws.Duty
	for _, spec := range specs {
		all = append(all, aws.Duty{Spec: spec, Uses: []aws.Use{{Playbook: "p", Step: spec.Name}}})
	}
	return all
}

func policyText(t *testing.T, d aws.Document) string {
	t.Helper()
	return string(must[[]byte](t)(d.Text()))
}
