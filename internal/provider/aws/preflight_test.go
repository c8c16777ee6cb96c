package aws_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// responder is the role that Riposte assumes in an account.
func responder(account string) string { return "arn:aws:iam::" + account + ":role/riposte-responder" }

// preflown looks at accounts through a simulator, as the session of a role in the home account.
func preflown(t *testing.T, s *awstest.Simulator, accounts, regions []string, queues ...aws.QueueConfig) aws.Preflight {
	t.Helper()
	awstest.Credentials(t)
	cloud, err := aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: s.URL, AssumeRole: "riposte-responder"})
	if err != nil {
		t.Fatal(err)
	}
	spec := action.Spec{Name: "aws.ec2.stop", Permissions: []action.Permission{
		{Name: "ec2:DescribeInstances", Resource: "*", Phase: action.PlanPhase},
		{Name: "ec2:StopInstances", Resource: "arn:{partition}:ec2:{region}:{account}:instance/*", Phase: action.ApplyPhase},
		{Name: "ec2:StartInstances", Resource: "arn:{partition}:ec2:{region}:{account}:instance/*", Phase: action.UndoPhase},
		{
			Name: "ec2:CreateTags", Resource: "arn:{partition}:ec2:{region}:{account}:instance/*", Phase: action.ApplyPhase,
			Conditions: map[string]map[string][]string{"StringEquals": {"ec2:CreateAction": {"RunInstances"}}, "Null": {"aws:RequestTag/riposte": {"false"}}},
		},
		{Name: "ec2:RebootInstances", Resource: "arn:{partition}:ec2:{region}:{account}:instance/*", Phase: action.ApplyPhase},
		{Name: "iam:GetUser", Resource: "arn:{partition}:iam::{account}:user/*", Phase: action.PlanPhase},
	}}
	duties := []aws.Duty{{Spec: spec, Uses: []aws.Use{{Playbook: "stop-it", Step: "stop"}}}}
	found, err := cloud.Preflight(t.Context(), accounts, regions, duties, queues)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// told is what was found in few words.
func told(p aws.Preflight) []string {
	said := []string{}
	for _, problem := range p.Problems {
		var breaks []string
		for _, use := range problem.Breaks {
			breaks = append(breaks, use.String())
		}
		said = append(said, fmt.Sprintf("%s %s %v %s: %s [%s]", problem.Kind, problem.What, problem.Regions, problem.Resource, problem.Why, strings.Join(breaks, "; ")))
	}
	return said
}

func TestPreflightFindsNothingWhereAllIsGranted(t *testing.T) {
	s, account := awstest.NewSimulator(t), awstest.Account()
	s.Give(responder(account), awstest.Grant{Action: "ec2:*", Resource: "*", Context: map[string]string{}}, awstest.Grant{Action: "iam:GetUser", Resource: "*"})
	got := preflown(t, s, []string{account}, []string{"eu-central-1", "eu-west-1"})
	if !got.OK || len(got.Problems) != 0 {
		t.Errorf("got %v", told(got))
	}
	want := []aws.Examined{{Account: account, Part: aws.Member, Principal: responder(account), Regions: []string{"eu-central-1", "eu-west-1"}, Simulated: 6}}
	if diff := cmp.Diff(want, got.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(got.Unseen, func(s string) bool { return strings.Contains(s, "service control policies with conditions") }) {
		t.Errorf("it does not say what the simulation can't see: %v", got.Unseen)
	}
}

func TestPreflightTellsWhatIsMissingAndWhatItBreaks(t *testing.T) {
	s, account := awstest.NewSimulator(t), awstest.Account()
	instances := "arn:aws:ec2:*:" + account + ":instance/*"
	s.Give(responder(account),
		awstest.Grant{Action: "ec2:Describe*", Resource: "*", Context: map[string]string{"aws:RequestedRegion": "eu-central-1"}},
		awstest.Grant{Action: "ec2:StopInstances", Resource: "arn:aws:ec2:eu-central-1:" + account + ":instance/*"},
		awstest.Grant{Action: "ec2:StartInstances", Resource: instances},
		awstest.Grant{Kind: "organization", Action: "ec2:StartInstances", Resource: instances},
		awstest.Grant{Action: "ec2:CreateTags", Resource: instances, Context: map[string]string{"ec2:CreateAction": "RunInstances", "aws:RequestTag/riposte": "riposte"}},
		awstest.Grant{Action: "ec2:RebootInstances", Resource: "*"},
		awstest.Grant{Kind: "deny", Action: "ec2:Reboot*", Resource: "*"})
	got := preflown(t, s, []string{account}, []string{"eu-central-1", "eu-west-1"})
	slices.SortFunc(got.Problems, func(a, b aws.Problem) int { return strings.Compare(a.What, b.What) })
	want := []string{
		"permission ec2:DescribeInstances [eu-west-1] *: no policy of the role allows it [stop-it, step stop: plan of aws.ec2.stop]",
		"permission ec2:RebootInstances [eu-central-1 eu-west-1] " + instances + ": a policy of the role denies it: hands-off [stop-it, step stop: apply of aws.ec2.stop]",
		"permission ec2:StartInstances [eu-central-1 eu-west-1] " + instances + ": AWS Organizations denies it: a service control policy [stop-it, step stop: undo of aws.ec2.stop]",
		"permission ec2:StopInstances [eu-west-1] arn:aws:ec2:eu-west-1:" + account + ":instance/*: no policy of the role allows it [stop-it, step stop: apply of aws.ec2.stop]",
		"permission iam:GetUser [] arn:aws:iam::" + account + ":user/*: no policy of the role allows it [stop-it, step stop: plan of aws.ec2.stop]",
	}
	if diff := cmp.Diff(want, told(got)); diff != "" || got.OK {
		t.Errorf("ok %t, problems (-want +got):\n%s", got.OK, diff)
	}
}

func TestPreflightTellsOfRolesRegionsAndQueues(t *testing.T) {
	s := awstest.NewSimulator(t)
	closed, silent := awstest.Account(), awstest.Account()
	s.Close(responder(closed))
	s.Disable("me-south-1")
	s.Give(responder(silent), awstest.Grant{Action: "*", Resource: "*"})
	got := preflown(t, s, []string{awstest.Home, closed, silent}, []string{"eu-central-1", "me-south-1"},
		aws.QueueConfig{URL: "https://sqs.eu-central-1.amazonaws.com/" + awstest.Home + "/no-such-queue"})
	kinds := map[string][]aws.Trouble{}
	for _, p := range got.Problems {
		kinds[p.Account] = append(kinds[p.Account], p.Kind)
	}
	if diff := cmp.Diff(map[string][]aws.Trouble{
		awstest.Home: {aws.NoQueue, aws.NoRegion, aws.Unsimulated}, closed: {aws.NotAssumed}, silent: {aws.NoRegion},
	}, kinds); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, told(got))
	}
	if !slices.ContainsFunc(told(got), func(s string) bool {
		return strings.HasPrefix(s, "assume sts:AssumeRole") && strings.Contains(s, "AccessDenied") && strings.Contains(s, "must exist, trust")
	}) {
		t.Errorf("it does not say what to do about the role: %v", told(got))
	}
}

func TestPreflightSaysThatItMayNotSimulate(t *testing.T) {
	s, account := awstest.NewSimulator(t), awstest.Account()
	s.Refuse()
	got := preflown(t, s, []string{account}, []string{"eu-central-1"})
	if len(got.Problems) != 1 || got.Problems[0].Kind != aws.Unsimulated || got.OK || !strings.Contains(got.Problems[0].Why, "riposte permissions") {
		t.Errorf("got %v", told(got))
	}
}
