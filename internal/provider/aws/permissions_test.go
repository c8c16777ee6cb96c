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
	sources := []aws.Source{{
		Queue: "arn:aws:sqs:eu-central-1:123456789012:riposte", Buckets: []string{"arn:aws:s3:::b", "arn:aws:s3:::a"},
		Keys: []string{"arn:aws:kms:eu-central-1:123456789012:key/k"},
	}}
	got, err := aws.Policy(specs, sources, aws.PolicyOptions{Account: "123456789012", AssumeRole: "riposte-responder"})
	if err != nil {
		t.Fatal(err)
	}
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
      "Sid": "KmsKey",
      "Effect": "Allow",
      "Action": [
        "kms:Decrypt"
      ],
      "Resource": [
        "arn:aws:kms:eu-central-1:123456789012:key/k"
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
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func TestPolicyIsTheSameInAnyOrder(t *testing.T) {
	specs := allSpecs()
	first, err := aws.Policy(specs, nil, aws.PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(specs)
	second, err := aws.Policy(specs, nil, aws.PolicyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("the order of the actions shows:\n%s", diff)
	}
	var policy struct{ Statement []struct{ Sid string } }
	if err := json.Unmarshal(first, &policy); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range policy.Statement {
		if s.Sid == "" || seen[s.Sid] {
			t.Errorf("the id %q is empty or there twice", s.Sid)
		}
		seen[s.Sid] = true
	}
	if strings.Contains(string(first), "{account}") || strings.Contains(string(first), "{partition}") {
		t.Errorf("a place is not filled in:\n%s", first)
	}
}

func TestPolicyRefusesWhatIsNoARN(t *testing.T) {
	_, err := aws.Policy(nil, []aws.Source{{Queue: "riposte"}}, aws.PolicyOptions{})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an error of kind invalid", err)
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
