package aws_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

const (
	product   = "arn:aws:securityhub:" + awstest.Region + "::product/aws/securityhub"
	hubID     = "arn:aws:securityhub:" + awstest.Region + ":" + awstest.Home + ":subscription/aws-foundational/S3.2/finding/1"
	updateHub = "aws.securityhub.update_finding"
)

// The emulator has no BatchUpdateFindings, and its GetFindings takes no filters: this is tested against a
// small server of our own that speaks these APIs.
func hub(t *testing.T) (*lab, *securityhub.Client) {
	t.Helper()
	l := labAt(t, awstest.NewFindings(t).URL, awstest.Home)
	api := securityhub.NewFromConfig(l.direct)
	for _, id := range []string{hubID, hubID + "0"} {
		must[*securityhub.BatchImportFindingsOutput](t)(api.BatchImportFindings(t.Context(), &securityhub.BatchImportFindingsInput{
			Findings: []types.AwsSecurityFinding{{
				Id: sdk.String(id), ProductArn: sdk.String(product), AwsAccountId: sdk.String(awstest.Home),
				CreatedAt: sdk.String("2026-01-01T00:00:00Z"), UpdatedAt: sdk.String("2026-01-01T00:00:00Z"),
				SchemaVersion: sdk.String("2018-10-08"), GeneratorId: sdk.String("S3.2"), Title: sdk.String("S3.2"),
				Description: sdk.String("public bucket"), Severity: &types.Severity{Label: types.SeverityLabelHigh},
				Resources: []types.Resource{{Id: sdk.String("arn:aws:s3:::shop"), Type: sdk.String("AwsS3Bucket")}},
			}},
		}))
	}
	return l, api
}

// people tells what people set of all findings. Security Hub can't remove a note; what undo leaves in its
// place is none.
func people(t *testing.T, api *securityhub.Client) string {
	t.Helper()
	got := must[*securityhub.GetFindingsOutput](t)(api.GetFindings(t.Context(), &securityhub.GetFindingsInput{}))
	var all strings.Builder
	for _, f := range got.Findings {
		all.WriteString(*f.Id + " " + string(f.Workflow.Status))
		if f.Note != nil && *f.Note.Text != "(withdrawn by Riposte)" {
			all.WriteString(" " + *f.Note.UpdatedBy + ": " + *f.Note.Text)
		}
		all.WriteString("\n")
	}
	return all.String()
}

func TestUpdateFinding(t *testing.T) {
	params := func(id, status, note string) action.Params {
		given := action.Params{"finding_id": id, "product_arn": product}
		if status != "" {
			given["status"] = status
		}
		if note != "" {
			given["note"] = note
		}
		return given
	}
	for name, given := range map[string]action.Params{
		"status and note": params(hubID, "RESOLVED", "Riposte closed the bucket"),
		"status":          params(hubID, "NOTIFIED", ""),
		"note":            params(hubID, "", "Riposte looks into it"),
	} {
		t.Run(name, func(t *testing.T) {
			l, api := hub(t)
			missing := l.input(params(hubID+"-gone", "RESOLVED", ""))
			changes := 0
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, updateHub), Input: l.input(given), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return people(t, api) },
				Change: func(t *testing.T) {
					t.Helper()
					changes++
					must[*securityhub.BatchUpdateFindingsOutput](t)(api.BatchUpdateFindings(t.Context(), &securityhub.BatchUpdateFindingsInput{
						FindingIdentifiers: []types.AwsSecurityFindingIdentifier{{Id: sdk.String(hubID), ProductArn: sdk.String(product)}},
						Workflow:           &types.WorkflowUpdate{Status: types.WorkflowStatusSuppressed},
						Note:               &types.NoteUpdate{Text: sdk.String("mine " + strings.Repeat("!", changes)), UpdatedBy: sdk.String("ada")},
					}))
				},
			})
		})
	}
}

func TestUpdateFindingRefusesWhatIsNoUpdate(t *testing.T) {
	l, _ := hub(t)
	given := action.Params{"finding_id": hubID, "product_arn": product}
	l.refuses(t, updateHub, given, fault.Invalid)
	given["note"] = strings.Repeat("ä", 513)
	l.refuses(t, updateHub, given, fault.Invalid)
	given["note"], given["product_arn"] = "a note", "securityhub"
	l.refuses(t, updateHub, given, fault.Invalid)
}

// The emulator has no findings of GuardDuty's: this is tested against a small server of our own that speaks
// the APIs that the action uses.
func TestArchiveFinding(t *testing.T) {
	server := awstest.NewFindings(t)
	l := labAt(t, server.URL, awstest.Home)
	const name, id = "aws.guardduty.archive_finding", "7ab9d2a4f4b2b5f1a1e5c6d7e8f90123"
	server.Sample(id)
	server.Sample("another")
	api := guardduty.NewFromConfig(l.direct)
	detectors := must[*guardduty.ListDetectorsOutput](t)(api.ListDetectors(t.Context(), &guardduty.ListDetectorsInput{}))
	detector := detectors.DetectorIds[0]
	missing := l.input(action.Params{"detector_id": detector, "finding_id": "gone"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"detector_id": detector, "finding_id": id}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*guardduty.GetFindingsOutput](t)(api.GetFindings(t.Context(), &guardduty.GetFindingsInput{
				DetectorId: sdk.String(detector), FindingIds: []string{id, "another"},
			}))
			archived := map[string]bool{}
			for _, f := range got.Findings {
				archived[*f.Id] = *f.Service.Archived
			}
			return dump(t, archived)
		},
		// A finding is archived or not: who changes it makes the plan's change, or undoes it.
	})
	l.refuses(t, name, action.Params{"detector_id": "nobodys", "finding_id": id}, fault.Invalid)
	l.refuses(t, name, action.Params{"detector_id": detector + "/findings", "finding_id": id}, fault.Invalid)
}
