package aws

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var guardDutyID = shaped(`^[A-Za-z0-9-]{1,300}$`)

// archived is whether a finding is archived.
type archived struct {
	Archived bool `json:"archived"`
}

// archive is aws.guardduty.archive_finding.
type archive struct {
	placed[archived]
}

func archiveFinding(c *Cloud) *archive {
	a := &archive{placed: placed[archived]{cloud: c}}
	a.Setting = action.Setting[archived]{
		About: archiveSpec(),
		Target: func(in action.Input) entity.Entity {
			at := c.here(in.Place)
			detector, id := in.Params.String("detector_id"), in.Params.String("finding_id")
			return entity.Entity{
				Kind: entity.Resource, ID: id, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
				ARN: "arn:" + c.self.Partition + ":guardduty:" + at.Region + ":" + at.Account + ":detector/" + detector + "/finding/" + id,
			}
		},
		Read:  a.read,
		Want:  func(action.Input, archived) (archived, error) { return archived{Archived: true}, nil },
		Write: a.write,
		Calls: func(in action.Input, _, _ archived) []string {
			return []string{"guardduty:ArchiveFindings " + in.Params.String("finding_id")}
		},
		Summary: func(in action.Input, _, _ archived) string {
			return fmt.Sprintf("GuardDuty finding %s is archived", in.Params.String("finding_id"))
		},
	}
	return a
}

func archiveSpec() action.Spec {
	detectors := "arn:{partition}:guardduty:{region}:{account}:detector/*"
	return action.Spec{
		Name:    "aws.guardduty.archive_finding",
		Summary: "Archive a GuardDuty finding",
		Doc: "Moves the finding out of the current ones. When the same thing happens again, GuardDuty makes a new finding. In an " +
			"organization only the administrator's account can archive findings of its members.\n\nUndo takes it out of the archive.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "detector_id", Type: action.String, Required: true, Entity: entity.Detector, Doc: "id of the detector that found it"},
			{Name: "finding_id", Type: action.String, Required: true, Entity: entity.Resource, Doc: "id of the finding"},
		},
		Permissions: []action.Permission{
			{Name: "guardduty:GetFindings", Resource: detectors, Phase: action.PlanPhase},
			{Name: "guardduty:ArchiveFindings", Resource: detectors, Phase: action.ApplyPhase},
			{Name: "guardduty:UnarchiveFindings", Resource: detectors, Phase: action.UndoPhase},
		},
	}
}

func (a *archive) guard(in action.Input) (*guardduty.Client, error) {
	for _, name := range []string{"detector_id", "finding_id"} {
		if !guardDutyID.MatchString(in.Params.String(name)) {
			return nil, fault.New(fault.Invalid, "%s: %q is not an id of GuardDuty's", name, shorten(in.Params.String(name)))
		}
	}
	return client(a.cloud, in.Place, func(made aws.Config) *guardduty.Client { return guardduty.NewFromConfig(made) })
}

func (a *archive) read(ctx context.Context, in action.Input) (archived, error) {
	api, err := a.guard(in)
	if err != nil {
		return archived{}, err
	}
	detector, id := in.Params.String("detector_id"), in.Params.String("finding_id")
	got, err := api.GetFindings(ctx, &guardduty.GetFindingsInput{DetectorId: aws.String(detector), FindingIds: []string{id}})
	if err != nil {
		return archived{}, fmt.Errorf("read finding %s: %w", id, classify(err))
	}
	for _, f := range got.Findings {
		if aws.ToString(f.Id) == id {
			return archived{Archived: f.Service != nil && aws.ToBool(f.Service.Archived)}, nil
		}
	}
	return archived{}, fault.New(fault.NotFound, "detector %s has no finding %s", detector, id)
}

func (a *archive) write(ctx context.Context, in action.Input, _, to archived) (archived, error) {
	api, err := a.guard(in)
	if err != nil {
		return archived{}, err
	}
	detector, id := aws.String(in.Params.String("detector_id")), in.Params.String("finding_id")
	if to.Archived {
		_, err = api.ArchiveFindings(ctx, &guardduty.ArchiveFindingsInput{DetectorId: detector, FindingIds: []string{id}})
	} else {
		_, err = api.UnarchiveFindings(ctx, &guardduty.UnarchiveFindingsInput{DetectorId: detector, FindingIds: []string{id}})
	}
	if err != nil {
		return archived{}, fmt.Errorf("set archived of finding %s to %t: %w", id, to.Archived, classify(err))
	}
	return to, nil
}
