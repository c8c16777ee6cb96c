package aws_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// policies reads what somebody wrote, from a file of that name.
func policies(t *testing.T, name, text string) ([]aws.Document, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return aws.ReadPolicies(path)
}

// short is a comparison in few words.
func short(c aws.Comparison) []string {
	said := []string{}
	for _, m := range c.Missing {
		said = append(said, "lacks "+m.Permission+": "+m.Why)
	}
	for _, m := range c.Conditional {
		said = append(said, "perhaps "+m.Permission+": "+m.Why)
	}
	for _, e := range c.Excess {
		said = append(said, "more "+e.Action+": "+e.Why)
	}
	return said
}

func TestPoliciesAreComparedByWhatTheyMean(t *testing.T) {
	stop := aws.Need{Permission: "ec2:StopInstances", Resource: "arn:{partition}:ec2:*:{account}:instance/*"}
	list := aws.Need{Permission: "ec2:DescribeInstances", Resource: "*"}
	tagging := aws.Need{
		Permission: "ec2:CreateTags", Resource: "arn:{partition}:ec2:*::snapshot/*",
		Conditions: map[string]map[string][]string{"StringEquals": {"ec2:CreateAction": {"CreateSnapshot", "CreateSnapshots"}}},
	}
	queue := aws.Need{Permission: "sqs:ReceiveMessage", Resource: "arn:{partition}:sqs:eu-central-1:123456789012:riposte"}
	const onInstances = `"arn:aws:ec2:*:111122223333:instance/*"`
	for name, c := range map[string]struct {
		needs []aws.Need
		have  string // statements
		want  []string
	}{
		"exactly":               {[]aws.Need{stop, list}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `},{"Effect":"Allow","Action":["ec2:DescribeInstances"],"Resource":"*"}`, nil},
		"in other letters":      {[]aws.Need{stop}, `{"Effect":"Allow","Action":"EC2:stopinstances","Resource":` + onInstances + `}`, nil},
		"nothing":               {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:DescribeInstances","Resource":"*"}`, []string{"lacks ec2:StopInstances: nothing allows it", "more ec2:DescribeInstances: nothing in force needs it"}},
		"a wildcard":            {[]aws.Need{stop}, `{"Sid":"All","Effect":"Allow","Action":"ec2:*","Resource":"*"}`, []string{"more ec2:*: a wildcard; needed of it: ec2:StopInstances"}},
		"part of a wildcard":    {[]aws.Need{stop, list}, `{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}`, []string{"lacks ec2:StopInstances: nothing allows it", "more ec2:Describe*: a wildcard; needed of it: ec2:DescribeInstances"}},
		"a question mark":       {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstance?","Resource":` + onInstances + `}`, []string{"more ec2:StopInstance?: a wildcard; needed of it: ec2:StopInstances"}},
		"any resource":          {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":"*"}`, []string{"more ec2:StopInstances: needed on arn:{partition}:ec2:*:{account}:instance/* alone"}},
		"fewer resources":       {[]aws.Need{stop}, `{"Sid":"Some","Effect":"Allow","Action":"ec2:StopInstances","Resource":"arn:aws:ec2:*:111122223333:instance/i-1*"}`, []string{"lacks ec2:StopInstances: allowed by Some on other resources alone"}},
		"one region":            {[]aws.Need{stop}, `{"Sid":"Some","Effect":"Allow","Action":"ec2:StopInstances","Resource":"arn:aws:ec2:eu-central-1:111122223333:instance/*"}`, []string{"lacks ec2:StopInstances: allowed by Some on other resources alone"}},
		"cut short":             {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":"arn:aws:ec2:*"}`, []string{"more ec2:StopInstances: needed on arn:{partition}:ec2:*:{account}:instance/* alone"}},
		"stars end at colons":   {[]aws.Need{stop}, `{"Sid":"Some","Effect":"Allow","Action":"ec2:StopInstances","Resource":"arn:*:111122223333:instance/*"}`, []string{"lacks ec2:StopInstances: allowed by Some on other resources alone", "more ec2:StopInstances: needed on arn:{partition}:ec2:*:{account}:instance/* alone"}},
		"another account":       {[]aws.Need{queue}, `{"Sid":"Q","Effect":"Allow","Action":"sqs:ReceiveMessage","Resource":"arn:aws:sqs:eu-central-1:999999999999:riposte"}`, []string{"lacks sqs:ReceiveMessage: allowed by Q on other resources alone", "more sqs:ReceiveMessage: needed on arn:{partition}:sqs:eu-central-1:123456789012:riposte alone"}},
		"all but":               {[]aws.Need{stop}, `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`, []string{"more all but iam:*: it allows all but what it names"}},
		"all but it":            {[]aws.Need{stop}, `{"Effect":"Allow","NotAction":["ec2:Stop*"],"NotResource":"arn:aws:s3:::b"}`, []string{"lacks ec2:StopInstances: nothing allows it", "more all but ec2:Stop*: it allows all but what it names"}},
		"all but its resources": {[]aws.Need{stop}, `{"Sid":"N","Effect":"Allow","Action":"ec2:StopInstances","NotResource":"arn:aws:ec2:*:*:instance/i-9"}`, []string{"lacks ec2:StopInstances: allowed by N on other resources alone", "more ec2:StopInstances: it allows all but what it names"}},
		"its condition":         {[]aws.Need{tagging}, `{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"arn:aws:ec2:*::snapshot/*","Condition":{"StringEquals":{"EC2:CreateAction":["CreateSnapshots","CreateSnapshot"]}}}`, nil},
		"a wider condition":     {[]aws.Need{tagging}, `{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"arn:aws:ec2:*::snapshot/*","Condition":{"StringLike":{"ec2:CreateAction":"Create*"}}}`, []string{"more ec2:CreateTags: needed only where ec2:CreateAction StringEquals CreateSnapshot or CreateSnapshots"}},
		"a narrower condition":  {[]aws.Need{tagging}, `{"Sid":"T","Effect":"Allow","Action":"ec2:CreateTags","Resource":"arn:aws:ec2:*::snapshot/*","Condition":{"StringEquals":{"ec2:CreateAction":"CreateSnapshot"}}}`, []string{"lacks ec2:CreateTags: allowed by T only where ec2:CreateAction StringEquals CreateSnapshot"}},
		"no condition":          {[]aws.Need{tagging}, `{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"arn:aws:ec2:*::snapshot/*"}`, []string{"more ec2:CreateTags: needed only where ec2:CreateAction StringEquals CreateSnapshot or CreateSnapshots"}},
		"a condition more":      {[]aws.Need{stop}, `{"Sid":"C","Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `,"Condition":{"Bool":{"aws:MultiFactorAuthPresent":true}}}`, []string{"lacks ec2:StopInstances: allowed by C only where aws:MultiFactorAuthPresent Bool true"}},
		"a condition not of it": {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `,"Condition":{"StringNotEquals":{"aws:ResourceTag/a":"b"}}},{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `}`, nil},
		"denied":                {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `},{"Sid":"No","Effect":"Deny","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:instance/i-9*"}`, []string{"lacks ec2:StopInstances: denied by No"}},
		"denied elsewhere":      {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `},{"Sid":"No","Effect":"Deny","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:volume/*"}`, nil},
		"denied but there":      {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `},{"Effect":"Deny","Action":"*","NotResource":"arn:aws:ec2:*:*:instance/*"}`, nil},
		"denied at times":       {[]aws.Need{stop}, `{"Effect":"Allow","Action":"ec2:StopInstances","Resource":` + onInstances + `},{"Sid":"No","Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":"eu-central-1"}}}`, []string{"perhaps ec2:StopInstances: denied by No where aws:RequestedRegion StringNotEquals eu-central-1"}},
		"a variable":            {[]aws.Need{stop}, `{"Sid":"V","Effect":"Allow","Action":"ec2:StopInstances","Resource":"arn:aws:ec2:*:111122223333:instance/${aws:username}"}`, []string{"lacks ec2:StopInstances: allowed by V on other resources alone"}},
	} {
		have, err := policies(t, "p.json", `{"Version":"2012-10-17","Statement":[`+c.have+`]}`)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := short(aws.Compare(have, c.needs)); !slices.Equal(got, c.want) {
			t.Errorf("%s: (-want +got)\n%s", name, cmp.Diff(c.want, got))
		}
	}
}

// An account that is asked for is held against accounts: that is what --account is for.
func TestComparisonKnowsTheAccount(t *testing.T) {
	need := []aws.Need{{Permission: "iam:GetUser", Resource: "arn:{partition}:iam::111122223333:user/*"}}
	for account, want := range map[string]int{"111122223333": 0, "444455556666": 1, "*": 0} {
		have, err := policies(t, "p.json", `{"Statement":{"Effect":"Allow","Action":"iam:GetUser","Resource":"arn:aws:iam::`+account+`:user/*"}}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.Compare(have, need); len(got.Missing) != want || (account == "111122223333") != (len(got.Excess) == 0) {
			t.Errorf("%s: got %v", account, short(got))
		}
	}
}

func TestPoliciesAreReadFromWhatHoldsThem(t *testing.T) {
	const statement = `{"Effect":"Allow","Action":"iam:GetUser","Resource":"arn:aws:iam::*:user/*"}`
	for name, text := range map[string]string{
		"policy.json":  "{\n\t\"Version\": \"2012-10-17\",\n\t\"Statement\": " + statement + "\n}",
		"version.json": `{"PolicyVersion":{"Document":{"Statement":[` + statement + `]}}}`,
		"stack.json":   `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}},"Policies":[{"PolicyDocument":{"Statement":[{"Effect":"Allow","Action":["iam:GetUser"],"Resource":{"Fn::Sub":"arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*"}}]}}]}}}}`,
		"stack.yaml":   "Resources:\n  P:\n    Properties:\n      PolicyDocument:\n        Statement:\n          - {Effect: Allow, Action: iam:GetUser, Resource: !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:user/*'}\n",
		"a.tf":         "resource \"x\" \"y\" {\n  policy = <<EOF\n{\"Statement\": " + strings.ReplaceAll(statement, "::*:", "::${data.aws_caller_identity.me.account_id}:") + "}\nEOF\n}\nresource \"z\" \"t\" {\n  user_data = <<-SH\n    #!/bin/sh\n  SH\n}\n",
		"p.template":   "Statement: [" + statement + "]",
	} {
		have, err := policies(t, name, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		need := aws.Need{Permission: "iam:GetUser", Resource: "arn:{partition}:iam::{account}:user/*"}
		if got := short(aws.Compare(have, []aws.Need{need})); len(got) != 0 {
			t.Errorf("%s: got %v of %+v", name, got, have)
		}
	}
	for name, text := range map[string]string{
		"none.json":      `{"a": 1}`,
		"broken.json":    `{"Statement": [`,
		"effect.json":    `{"Statement": [{"Action": "a:b", "Resource": "*"}]}`,
		"action.json":    `{"Statement": [{"Effect": "Allow", "Resource": "*"}]}`,
		"both.json":      `{"Statement": [{"Effect": "Allow", "Action": "a:b", "NotAction": "c:d", "Resource": "*"}]}`,
		"resource.json":  `{"Statement": [{"Effect": "Allow", "Action": "a:b"}]}`,
		"list.json":      `{"Statement": [{"Effect": "Allow", "Action": [["a:b"]], "Resource": "*"}]}`,
		"condition.json": `{"Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": ["x"]}]}`,
		"alias.yaml":     "a: &a {Statement: []}\nb: *a\n",
		"if.yaml":        "Statement:\n  - !If [A, {Effect: Allow, Action: a:b, Resource: '*'}, !Ref AWS::NoValue]\n",
		"deep.json":      strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		"code.tf":        "resource \"x\" \"y\" {\n  policy = jsonencode({})\n}\n",
		"empty.yaml":     "",
	} {
		if have, err := policies(t, name, text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %+v, %v; want an error of kind invalid", name, have, err)
		}
	}
	if _, err := aws.ReadPolicies(filepath.Join(t.TempDir(), "none")); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want an error of kind not_found", err)
	}
	if _, err := aws.ReadPolicies(t.TempDir()); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an error of kind invalid", err)
	}
}

// FuzzPolicies reads what anybody may have written, and what it understands covers itself.
func FuzzPolicies(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Action":"a:b*","Resource":"arn:aws:a:*:1:x?/**"}]}`, false)
	f.Add("Statement: {Effect: Deny, NotAction: [a:b], NotResource: !Sub 'arn:${AWS::Partition}:a:::x'}", false)
	f.Add("policy = <<-P\n {\"Statement\": []}\n P\n", true)
	f.Fuzz(func(t *testing.T, text string, terraform bool) {
		have, err := aws.ParsePolicies([]byte(text), terraform)
		if err != nil {
			return
		}
		for _, d := range have {
			for _, s := range d.Statement {
				if s.Effect != "Allow" || len(s.Action) == 0 || len(s.Resource) == 0 || len(s.Condition) > 0 {
					continue
				}
				need := aws.Need{Permission: s.Action[0], Resource: s.Resource[0]}
				if got := aws.Compare([]aws.Document{{Statement: []aws.Statement{s}}}, []aws.Need{need}); len(got.Missing) > 0 {
					t.Errorf("%+v does not grant itself: %s", s, fmt.Sprint(short(got)))
				}
			}
		}
	})
}
