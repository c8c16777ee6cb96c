package rulecase_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/sigma"
)

// simulated says, for each recording of one attack technique, which of our rules and correlations find it. CloudTrail tells
// of all of them.
var simulated = map[string][]string{
	"aws.credential-access.ec2-get-password-data":                 {"ec2-password-data-read", "instances-searched-for-secrets"},
	"aws.credential-access.ec2-steal-instance-credentials":        {"instance-role-recon", "ssm-command-sent"},
	"aws.credential-access.secretsmanager-batch-retrieve-secrets": {"secrets-batch-retrieved"},
	"aws.credential-access.ssm-retrieve-securestring-parameters":  {"ssm-parameters-decrypted-in-bulk"},
	"aws.defense-evasion.cloudtrail-delete":                       {"cloudtrail-stopped"},
	"aws.defense-evasion.cloudtrail-event-selectors":              {"cloudtrail-selectors-narrowed"},
	"aws.defense-evasion.dns-delete-logs":                         {"dns-query-logs-deleted"},
	"aws.defense-evasion.organizations-leave":                     {"organization-leave"},
	"aws.defense-evasion.vpc-remove-flow-logs":                    {"vpc-flow-logs-deleted"},
	"aws.execution.ec2-launch-unusual-instances":                  {"ec2-unusual-instances-launched"},
	"aws.execution.ec2-user-data":                                 {"ec2-user-data-changed"},
	"aws.execution.ssm-send-command":                              {"ssm-command-sent"},
	"aws.exfiltration.ec2-security-group-open-port-22-ingress":    {"security-group-opened"},
	"aws.exfiltration.ec2-share-ami":                              {"ami-shared"},
	"aws.exfiltration.ec2-share-ebs-snapshot":                     {"ebs-snapshot-shared"},
	"aws.impact.bedrock-invoke-model":                             {"bedrock-model-access-requested"},
	"aws.initial-access.console-login-without-mfa":                {"console-login-without-mfa"},
	"aws.lateral-movement.ec2-instance-connect":                   {"ec2-instance-connect-key-sent"},
	"aws.persistence.iam-backdoor-role":                           {"iam-role-trust-backdoored"},
	"aws.persistence.iam-backdoor-user":                           {"iam-user-backdoored"},
	"aws.persistence.iam-create-admin-user":                       {"iam-admin-policy-attached", "iam-user-backdoored", "user-created-as-administrator"},
	"aws.persistence.iam-create-user-login-profile":               {"iam-login-profile-created"},
	"aws.persistence.lambda-backdoor-function":                    {"lambda-opened"},
	"aws.persistence.lambda-layer-extension":                      {"lambda-layer-added"},
	"aws.persistence.rolesanywhere-create-trust-anchor":           {"rolesanywhere-trust-anchor-created"},
	"aws.persistence.sts-federation-token":                        {"federation-token-created"},
	"aws.privilege-escalation.iam-update-user-login-profile":      {"iam-login-profile-changed"},
}

// recorded counts, by file and by rule, the events of a folder of recordings that our rules find; and the alerts
// of our correlations, over each file by itself or over all of them together, which are under "".
func recorded(t *testing.T, folder string, together bool) (byFile map[string]map[string]int, events int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("../../../shared/data/cloudtrail", folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("the shared data isn't here")
	}
	all, _ := shipped(t)
	l := linked(t, all)
	set, err := sigma.NewSet(l.Rules)
	if err != nil {
		t.Fatal(err)
	}
	byFile = map[string]map[string]int{}
	run := newRun(l, set)
	for _, path := range paths {
		if !together {
			run = newRun(l, set)
		}
		file := strings.TrimSuffix(filepath.Base(path), ".json")
		byFile[file] = run.file(t, path)
		if !together {
			maps.Copy(byFile[file], run.alerts())
			events += run.events
		}
	}
	if together {
		byFile[""], events = run.alerts(), run.events
	}
	return byFile, events
}

// recording evaluates recordings. Events of all files may come in any order.
type recording struct {
	set        *sigma.Set
	correlator *sigma.Correlator
	seen       map[string]string // correlations by their alerts' keys
	events     int
}

func newRun(l *sigma.Linked, set *sigma.Set) *recording {
	return &recording{
		set: set, seen: map[string]string{},
		correlator: sigma.NewCorrelator(l, sigma.CorrelatorOptions{Lateness: sigma.Unbounded}),
	}
}

// file evaluates one file, and counts what rules find.
func (r *recording) file(t *testing.T, path string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	err = awslog.File(file, awslog.Limits{}, func(p awslog.Piece) error {
		e, err := sigma.ParseEvent(p.Raw)
		if err != nil {
			return err
		}
		at, ok := event.Moment(p.Raw)
		if !ok {
			return errors.New("the record has no time")
		}
		r.events++
		hits := r.set.Evaluate(e, "aws", "cloudtrail", "")
		for _, hit := range hits {
			if !hit.Rule.Quiet {
				counts[short(&hit.Rule.Header)]++
			}
		}
		r.note(r.correlator.Observe(hits, e, strconv.Itoa(r.events), at))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return counts
}

func (r *recording) note(alerts []sigma.Alert) {
	for _, a := range alerts {
		if !a.Correlation.Quiet {
			r.seen[a.Key()] = short(&a.Correlation.Header)
		}
	}
}

// alerts counts what correlations find, at the end.
func (r *recording) alerts() map[string]int {
	r.note(r.correlator.Flush())
	counts := map[string]int{}
	for _, correlation := range r.seen {
		counts[correlation]++
	}
	return counts
}

// short is a name without what is common to those of AWS.
func short(h *sigma.Header) string { return strings.TrimPrefix(name(h), "riposte-aws-") }

func TestSimulatedTechniquesAreFound(t *testing.T) {
	byFile, _ := recorded(t, "stratus", false)
	got := map[string][]string{}
	for file, counts := range byFile {
		for rule := range counts {
			got[file] = append(got[file], rule)
		}
		slices.Sort(got[file])
	}
	if diff := cmp.Diff(simulated, got); diff != "" {
		t.Errorf("rules by technique (-want +got):\n%s", diff)
	}
}

// noise is how many events of a whole account our rules find during a simulated attack: 2,900 events, of which
// most are the Terraform that builds and clears away the scene. The two large figures are one technique each,
// which asks for many instances in a row.
var noise = map[string]int{
	"ec2-password-data-read": 29, "ec2-user-data-read": 15, "ssm-parameters-decrypted-in-bulk": 4,
	"cloudtrail-stopped": 2, "ec2-unusual-instances-launched": 2, "iam-admin-policy-attached": 2,
	"iam-login-profile-created": 2, "iam-user-backdoored": 2, "lambda-code-changed-by-user": 2,
	"ami-shared": 1, "cloudtrail-selectors-narrowed": 1, "console-login-without-mfa": 1, "ebs-snapshot-shared": 1,
	"iam-authorization-details-read": 1, "iam-role-trust-backdoored": 1, "lambda-opened": 1, "organization-leave": 1,
	"rds-snapshot-shared": 1, "rolesanywhere-trust-anchor-created": 1, "s3-bucket-expires-within-a-day": 1,
	"s3-bucket-policy-backdoored": 1, "security-group-opened": 1, "security-log-group-deleted": 1,
	"ssm-command-sent": 1, "vpc-flow-logs-deleted": 1,
}

// alerts is how many alerts of correlations that is: one for each timespan in which the condition holds.
var alerts = map[string]int{
	"data-handed-out": 1, "defences-taken-down": 1, "ebs-snapshot-made-then-shared": 1, "instances-searched-for-secrets": 2,
	"persistence-in-several-ways": 1, "rds-snapshot-made-then-shared": 1, "secrets-read-in-bulk": 1,
	"user-created-as-administrator": 1,
}

func TestNoise(t *testing.T) {
	byFile, events := recorded(t, "invictus", true)
	if diff := cmp.Diff(alerts, byFile[""]); diff != "" {
		t.Errorf("alerts by correlation, of %d events (-want +got):\n%s", events, diff)
	}
	delete(byFile, "")
	got := map[string]int{}
	for _, counts := range byFile {
		for rule, count := range counts {
			got[rule] += count
		}
	}
	if diff := cmp.Diff(noise, got); diff != "" {
		t.Errorf("events by rule, of %d (-want +got):\n%s", events, diff)
	}
}
