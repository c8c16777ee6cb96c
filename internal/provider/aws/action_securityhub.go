package aws

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// noteBy is who Security Hub shows as the author of our notes.
	noteBy = "riposte"
	// withdrawn is the note that undo leaves where there was none: Security Hub can't remove a note.
	withdrawn = "(withdrawn by Riposte)"
	// longestNote is Security Hub's bound, in characters.
	longestNote = 512
	// longestFindingID is Security Hub's bound on a finding's id and a product's ARN.
	longestFindingID = 2048
)

// findingState is what people set of a finding.
type findingState struct {
	Status string `json:"status,omitempty"`
	Note   string `json:"note,omitempty"`
	NoteBy string `json:"note_by,omitempty"`
}

// updateHub is aws.securityhub.update_finding.
type updateHub struct {
	placed[findingState]
}

func updateFinding(c *Cloud) *updateHub {
	u := &updateHub{placed: placed[findingState]{cloud: c}}
	u.Setting = action.Setting[findingState]{
		About: updateSpec(),
		Target: func(in action.Input) entity.Entity {
			at, id := c.here(in.Place), in.Params.String("finding_id")
			e := entity.Entity{
				Kind: entity.Resource, ID: id, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
			}
			if arn.IsARN(id) {
				e.ARN = id
			}
			return e
		},
		Read:  u.read,
		Want:  wantFinding,
		Write: u.write,
		Calls: func(in action.Input, from, to findingState) []string {
			call := "securityhub:BatchUpdateFindings " + in.Params.String("finding_id")
			if from.Status != to.Status {
				call += ", workflow " + to.Status
			}
			if from.Note != to.Note || from.NoteBy != to.NoteBy {
				call += ", note"
			}
			return []string{call}
		},
		Summary: func(in action.Input, from, to findingState) string {
			id := in.Params.String("finding_id")
			if from.Status == to.Status {
				return "Security Hub finding " + id + " gets a note"
			}
			return fmt.Sprintf("Security Hub finding %s: workflow %s → %s", id, from.Status, to.Status)
		},
	}
	return u
}

func updateSpec() action.Spec {
	hub := "arn:{partition}:securityhub:{region}:{account}:hub/default"
	return action.Spec{
		Name:    "aws.securityhub.update_finding",
		Summary: "Set the workflow status of a Security Hub finding, or put a note on it",
		Doc: "Sets what is given of status and note, and leaves everything else of the finding as it is. A note replaces the one " +
			"that is there: Security Hub keeps one.\n\nUndo sets the status and the note as they were. Security Hub can't remove a " +
			"note; where there was none, undo leaves `" + withdrawn + "`.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "finding_id", Type: action.String, Required: true, Entity: entity.Resource, Doc: "the finding's Id"},
			{Name: "product_arn", Type: action.String, Required: true, Doc: "the finding's ProductArn"},
			{
				Name: "status", Type: action.String, Enum: []string{"NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED"},
				Doc: "workflow status to set",
			},
			{Name: "note", Type: action.String, Doc: "note to put on the finding, at most 512 characters"},
		},
		Permissions: []action.Permission{
			{Name: "securityhub:GetFindings", Resource: hub, Phase: action.PlanPhase},
			{Name: "securityhub:BatchUpdateFindings", Resource: hub, Phase: action.ApplyPhase},
			{Name: "securityhub:BatchUpdateFindings", Resource: hub, Phase: action.UndoPhase},
		},
	}
}

func wantFinding(in action.Input, now findingState) (findingState, error) {
	status, note := in.Params.String("status"), in.Params.String("note")
	switch {
	case status == "" && note == "":
		return now, fault.New(fault.Invalid, "nothing to update: give a status, a note, or both")
	case utf8.RuneCountInString(note) > longestNote:
		return now, fault.New(fault.Invalid, "the note has more than %d characters", longestNote)
	}
	if status != "" {
		now.Status = status
	}
	if note != "" {
		now.Note, now.NoteBy = note, noteBy
	}
	return now, nil
}

func (u *updateHub) hub(at action.Place) (*securityhub.Client, error) {
	return client(u.cloud, at, func(made aws.Config) *securityhub.Client { return securityhub.NewFromConfig(made) })
}

func (u *updateHub) read(ctx context.Context, in action.Input) (findingState, error) {
	id, product := in.Params.String("finding_id"), in.Params.String("product_arn")
	if len(id) > longestFindingID || len(product) > longestFindingID || !arn.IsARN(product) {
		return findingState{}, fault.New(fault.Invalid, "%q of product %q is no Security Hub finding", shorten(id), shorten(product))
	}
	api, err := u.hub(in.Place)
	if err != nil {
		return findingState{}, err
	}
	equals := func(text string) []types.StringFilter {
		return []types.StringFilter{{Comparison: types.StringFilterComparisonEquals, Value: aws.String(text)}}
	}
	got, err := api.GetFindings(ctx, &securityhub.GetFindingsInput{
		Filters: &types.AwsSecurityFindingFilters{Id: equals(id), ProductArn: equals(product)},
	})
	if err != nil {
		return findingState{}, fmt.Errorf("read finding %s: %w", id, classify(err))
	}
	for _, f := range got.Findings {
		if aws.ToString(f.Id) == id && aws.ToString(f.ProductArn) == product {
			return findingStateOf(f), nil
		}
	}
	at := u.cloud.here(in.Place)
	return findingState{}, fault.New(fault.NotFound, "Security Hub of account %s has no finding %s in %s", at.Account, id, at.Region)
}

// findingStateOf reads what people set of a finding. A note that undo left stands for none.
func findingStateOf(f types.AwsSecurityFinding) findingState {
	state := findingState{Status: string(types.WorkflowStatusNew)}
	if f.Workflow != nil && f.Workflow.Status != "" {
		state.Status = string(f.Workflow.Status)
	}
	if f.Note != nil {
		state.Note, state.NoteBy = aws.ToString(f.Note.Text), aws.ToString(f.Note.UpdatedBy)
	}
	if state.Note == withdrawn && state.NoteBy == noteBy {
		state.Note, state.NoteBy = "", ""
	}
	return state
}

func (u *updateHub) write(ctx context.Context, in action.Input, from, to findingState) (findingState, error) {
	id := in.Params.String("finding_id")
	api, err := u.hub(in.Place)
	if err != nil {
		return findingState{}, err
	}
	update := &securityhub.BatchUpdateFindingsInput{
		FindingIdentifiers: []types.AwsSecurityFindingIdentifier{{Id: aws.String(id), ProductArn: aws.String(in.Params.String("product_arn"))}},
	}
	if from.Status != to.Status {
		update.Workflow = &types.WorkflowUpdate{Status: types.WorkflowStatus(to.Status)}
	}
	if from.Note != to.Note || from.NoteBy != to.NoteBy {
		update.Note = &types.NoteUpdate{Text: aws.String(to.Note), UpdatedBy: aws.String(to.NoteBy)}
		if to.Note == "" {
			update.Note = &types.NoteUpdate{Text: aws.String(withdrawn), UpdatedBy: aws.String(noteBy)}
		}
	}
	done, err := api.BatchUpdateFindings(ctx, update)
	if err != nil {
		return findingState{}, fmt.Errorf("update finding %s: %w", id, classify(err))
	}
	if len(done.UnprocessedFindings) > 0 {
		return findingState{}, unprocessed(id, done.UnprocessedFindings[0])
	}
	return to, nil
}

// unprocessed is the error of a finding that Security Hub didn't update though it took the request.
func unprocessed(id string, f types.BatchUpdateFindingsUnprocessedFinding) error {
	kind := fault.Invalid
	switch aws.ToString(f.ErrorCode) {
	case "FindingNotFound":
		kind = fault.NotFound
	case "ConcurrentUpdateError", "InternalFailure", "ServiceUnavailable":
		kind = fault.Transient
	}
	return fault.New(kind, "Security Hub did not update finding %s: %s %s", id, aws.ToString(f.ErrorCode), aws.ToString(f.ErrorMessage))
}
