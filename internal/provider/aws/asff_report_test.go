package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// bench is a Security Hub with findings, and a reporter to it.
type bench struct {
	*lab
	server   *awstest.Findings
	api      *securityhub.Client
	reporter *aws.Reporter
	intended []string
	answer   func(status int, body string)
}

func newBench(t *testing.T, ids ...string) *bench {
	t.Helper()
	b := &bench{server: awstest.NewFindings(t)}
	var endpoint string
	endpoint, b.answer = scriptedAt(t, b.server.URL, "FindingIdentifiers")
	b.lab = labAt(t, endpoint, awstest.Home)
	b.api = securityhub.NewFromConfig(b.direct)
	for _, id := range ids {
		must[*securityhub.BatchImportFindingsOutput](t)(b.api.BatchImportFindings(t.Context(), &securityhub.BatchImportFindingsInput{
			Findings: []types.AwsSecurityFinding{{
				Id: sdk.String(id), ProductArn: sdk.String(product), AwsAccountId: sdk.String(awstest.Home),
				CreatedAt: sdk.String("2026-01-01T00:00:00Z"), UpdatedAt: sdk.String("2026-01-01T00:00:00Z"),
				SchemaVersion: sdk.String("2018-10-08"), GeneratorId: sdk.String("S3.2"), Title: sdk.String("S3.2"),
				Description: sdk.String("public bucket"), Severity: &types.Severity{Label: types.SeverityLabelHigh},
				Resources: []types.Resource{{Id: sdk.String("arn:aws:s3:::shop"), Type: sdk.String("AwsS3Bucket")}},
			}},
		}))
	}
	b.reporter = b.cloud.Reporter(func(_ context.Context, records ...record.Record) error {
		for _, r := range records {
			b.intended = append(b.intended, fmt.Sprintf("%s %d", r.Kind, len(b.server.Updates())))
		}
		return nil
	}, time.Now)
	return b
}

// outcome is an incident about findings in Security Hub, in a state.
func outcome(state incident.State, verdict incident.Verdict, ids ...string) aws.Outcome {
	o := aws.Outcome{
		Incident: incident.Incident{ID: "INC-1", State: state, Verdict: verdict},
		Runs:     []run.Run{{ID: "RUN-1", Playbook: "contain", State: run.Succeeded}},
		Done: []run.Step{{Run: "RUN-1", Action: "aws.s3.block_public_access", Change: &action.Change{
			Target: entity.Entity{ID: "shop\u202e\n" + strings.Repeat("x", 600)},
		}}},
	}
	for _, id := range ids {
		o.Findings = append(o.Findings, finding.Finding{
			Product: finding.SecurityHub, Account: awstest.Home, Region: awstest.Region, Reference: map[string]string{"id": id, "product_arn": product},
		})
	}
	return o
}

func (b *bench) report(t *testing.T, o aws.Outcome) []record.Record {
	t.Helper()
	return must[[]record.Record](t)(b.reporter.Report(t.Context(), o))
}

func (b *bench) finding(t *testing.T, id string) types.AwsSecurityFinding {
	t.Helper()
	for _, f := range must[*securityhub.GetFindingsOutput](t)(b.api.GetFindings(t.Context(), &securityhub.GetFindingsInput{})).Findings {
		if *f.Id == id {
			return f
		}
	}
	t.Fatalf("finding %s is not there", id)
	return types.AwsSecurityFinding{}
}

func TestReportedStatus(t *testing.T) {
	for name, test := range map[string]struct {
		state   incident.State
		verdict incident.Verdict
		run     run.State
		want    types.WorkflowStatus
	}{
		"open":                      {incident.Open, "", run.Failed, types.WorkflowStatusNew},
		"contained":                 {incident.Contained, "", run.Succeeded, types.WorkflowStatusNotified},
		"true, and a run goes on":   {incident.Closed, incident.TruePositive, run.Waiting, types.WorkflowStatusNotified},
		"true, and all is done":     {incident.Closed, incident.TruePositive, run.Succeeded, types.WorkflowStatusResolved},
		"a false positive":          {incident.Closed, incident.FalsePositive, run.Succeeded, types.WorkflowStatusSuppressed},
		"benign, and a run goes on": {incident.Closed, incident.Benign, run.Ready, types.WorkflowStatusSuppressed},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "f")
			o := outcome(test.state, test.verdict, "f", "gone")
			o.Runs[0].State = test.run
			records := b.report(t, o)
			if len(records) != 1 || records[0].Kind != record.ReportEnded || records[0].Incident != "INC-1" ||
				!strings.Contains(string(records[0].Body), `"updated":1,"known":0,"missing":1`) {
				t.Errorf("recorded %+v", records)
			}
			if !slices.Equal(b.intended, []string{"report.intended 0"}) {
				t.Errorf("before it was told, %q was recorded", b.intended)
			}
			got := b.finding(t, "f")
			if got.Workflow.Status != test.want || *got.Note.UpdatedBy != "riposte" {
				t.Errorf("workflow %s, note by %s; want %s", got.Workflow.Status, *got.Note.UpdatedBy, test.want)
			}
			if text := *got.Note.Text; !strings.HasPrefix(text, "Riposte incident INC-1 is "+string(test.state)) ||
				!strings.Contains(text, "aws.s3.block_public_access on shop xx") || len([]rune(text)) > 512 {
				t.Errorf("note is %q", text)
			}
			if got.UserDefinedFields["riposte_incident"] != "INC-1" || got.UserDefinedFields["riposte_verdict"] != string(test.verdict) ||
				!strings.Contains(got.UserDefinedFields["riposte_done"], "RUN-1") {
				t.Errorf("fields are %v", got.UserDefinedFields)
			}
			b.report(t, o) // as after a crash
			if updates := b.server.Updates(); len(updates) != 1 {
				t.Errorf("updated %d times, want once", len(updates))
			}
		})
	}
}

func TestReportsManyAtOnce(t *testing.T) {
	var ids []string
	for n := range 105 {
		ids = append(ids, fmt.Sprintf("f-%03d", n))
	}
	b := newBench(t, ids...)
	o := outcome(incident.Contained, "", append(ids, ids[0])...)
	b.report(t, o)
	if diff := cmp.Diff([]int{100, 5}, b.server.Updates()); diff != "" {
		t.Errorf("findings in each update (-want +got):\n%s", diff)
	}
}

// TestPeopleComeFirst keeps what people did to a finding.
func TestPeopleComeFirst(t *testing.T) {
	b := newBench(t, "f")
	must[*securityhub.BatchUpdateFindingsOutput](t)(b.api.BatchUpdateFindings(t.Context(), &securityhub.BatchUpdateFindingsInput{
		FindingIdentifiers: []types.AwsSecurityFindingIdentifier{{Id: sdk.String("f"), ProductArn: sdk.String(product)}},
		Workflow:           &types.WorkflowUpdate{Status: types.WorkflowStatusResolved},
		Note:               &types.NoteUpdate{Text: sdk.String("I did it"), UpdatedBy: sdk.String("ada")},
		UserDefinedFields:  map[string]string{"ticket": "7"},
	}))
	b.report(t, outcome(incident.Contained, "", "f"))
	got := b.finding(t, "f")
	if got.Workflow.Status != types.WorkflowStatusResolved || *got.Note.Text != "I did it" || got.UserDefinedFields["ticket"] != "7" ||
		got.UserDefinedFields["riposte_state"] != "contained" {
		t.Errorf("workflow %s, note %s, fields %v", got.Workflow.Status, *got.Note.Text, got.UserDefinedFields)
	}
}

// TestReportsGuardDuty finds in Security Hub what GuardDuty told of itself.
func TestReportsGuardDuty(t *testing.T) {
	id := "arn:aws:guardduty:" + awstest.Region + ":" + awstest.Home + ":detector/d-1/finding/f-1"
	b := newBench(t)
	must[*securityhub.BatchImportFindingsOutput](t)(b.api.BatchImportFindings(t.Context(), &securityhub.BatchImportFindingsInput{
		Findings: []types.AwsSecurityFinding{{
			Id: sdk.String(id), ProductArn: sdk.String(strings.Replace(product, "aws/securityhub", "aws/guardduty", 1)),
			AwsAccountId: sdk.String(awstest.Home), CreatedAt: sdk.String("2026-01-01T00:00:00Z"), UpdatedAt: sdk.String("2026-01-01T00:00:00Z"),
			SchemaVersion: sdk.String("2018-10-08"), GeneratorId: sdk.String("d-1"), Title: sdk.String("t"), Description: sdk.String("d"),
			Resources: []types.Resource{{Id: sdk.String("x"), Type: sdk.String("Other")}},
		}},
	}))
	o := outcome(incident.Contained, "")
	o.Findings = []finding.Finding{{
		Product: finding.GuardDuty, Account: awstest.Home, Region: awstest.Region, Reference: map[string]string{"detector_id": "d-1", "finding_id": "f-1"},
	}, {Product: finding.Riposte, Account: awstest.Home, Region: awstest.Region}}
	b.report(t, o)
	if got := b.finding(t, id).Workflow.Status; got != types.WorkflowStatusNotified {
		t.Errorf("workflow %s", got)
	}
}

func TestReportThatFailsIsToldAgain(t *testing.T) {
	b := newBench(t, "f")
	for status, want := range map[int]fault.Kind{
		http.StatusServiceUnavailable: fault.Transient, http.StatusTooManyRequests: fault.Transient, http.StatusForbidden: fault.Denied,
	} {
		b.answer(status, "{}")
		records, err := b.reporter.Report(t.Context(), outcome(incident.Contained, "", "f"))
		if !fault.Is(err, want) || len(records) > 0 {
			t.Errorf("answered %d: %v, recorded %+v", status, err, records)
		}
	}
	b.answer(0, "")
	b.report(t, outcome(incident.Contained, "", "f"))
	if got := b.finding(t, "f").Workflow.Status; got != types.WorkflowStatusNotified {
		t.Errorf("workflow %s", got)
	}
	o := outcome(incident.Contained, "", "f")
	o.Findings[0].Region = "evil.example.com/"
	if records := b.report(t, o); len(records) > 0 {
		t.Errorf("told in a region that is none: %+v", records)
	}
}
