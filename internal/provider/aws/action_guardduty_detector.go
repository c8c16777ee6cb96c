package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allDetectors = "arn:{partition}:guardduty:{region}:{account}:detector/*"

var featureForm = shaped(`^[A-Z][A-Z0-9_]{1,60}$`)

// The states of a detector and of its features, and of a detector that isn't there.
const (
	noDetector = "NONE"
	enabled    = "ENABLED"
	disabled   = "DISABLED"
)

// watching is how GuardDuty watches a region.
type watching struct {
	Status   string            `json:"status"`             // ENABLED, DISABLED, NONE
	Features map[string]string `json:"features,omitempty"` // those that the step names

	detector string // its id
	tags     map[string]string
	off      []string // features that are off, whether the step names them or not
}

// detectorRestoral is aws.guardduty.restore_detector.
type detectorRestoral struct {
	placed[watching]
}

func restoreDetector(c *Cloud) *detectorRestoral {
	d := &detectorRestoral{placed[watching]{cloud: c}}
	d.Setting = action.Setting[watching]{
		About:  restoreDetectorSpec(),
		Target: c.accountTarget,
		Read:   d.read,
		Want: func(in action.Input, now watching) (watching, error) {
			want := watching{Status: enabled}
			for _, name := range in.Params.Strings("features") {
				if want.Features == nil {
					want.Features = map[string]string{}
				}
				want.Features[name] = enabled
			}
			return want, nil
		},
		Write: d.write,
		Calls: func(in action.Input, from, _ watching) []string {
			at := c.here(in.Place)
			call := flip(from.Status == noDetector, "guardduty:CreateDetector in ", "guardduty:UpdateDetector in ") + at.Region
			if names := in.Params.Strings("features"); len(names) > 0 {
				call += ", with " + strings.Join(names, ", ")
			}
			return []string{call}
		},
		Summary: func(in action.Input, from, _ watching) string {
			was := map[string]string{noDetector: "there was no detector", disabled: "the detector was suspended", enabled: "it did already"}
			return fmt.Sprintf("GuardDuty watches account %s in %s (%s)", c.here(in.Place).Account, c.here(in.Place).Region, was[from.Status])
		},
		Facts: d.facts,
	}
	return d
}

// accountTarget is the account of a step, for what is of the account as a whole.
func (c *Cloud) accountTarget(in action.Input) entity.Entity {
	at := c.here(in.Place)
	return entity.Entity{
		Kind: entity.Account, ID: at.Account, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
	}
}

func restoreDetectorSpec() action.Spec {
	ours := conditions{"Null": {"aws:ResourceTag/" + tagRun: {"false"}}}
	linked := conditions{"StringEquals": {"iam:AWSServiceName": {"guardduty.amazonaws.com"}}}
	return action.Spec{
		Name:    "aws.guardduty.restore_detector",
		Summary: "Turn GuardDuty on again in a region",
		Doc: "Enables the region's detector where it is suspended, makes one where there is none, and enables the features that the step " +
			"names. A feature that it doesn't name stays as it is; the plan says which are off, so that people see what else was " +
			"tampered with. A detector that is made anew knows none of the findings, filters and lists of the one before, and " +
			"GuardDuty chooses which features it begins with. Of a member account the organization's administrator may have to do it.\n\n" +
			"**Undo turns off again what was off**: it suspends the detector, and deletes the one that this step made, with its " +
			"findings. It is seldom what you want. One that somebody else made is never deleted.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "features", Type: action.Strings, Doc: "features to enable, such as S3_DATA_EVENTS, RUNTIME_MONITORING"},
		},
		Outputs: []action.Output{
			{Name: "was", Type: action.String, Doc: "ENABLED, DISABLED, or NONE where there was no detector"},
			{Name: "features_off", Type: action.Strings, Doc: "features of the detector that were off"},
		},
		Permissions: slices.Concat(
			reads("*", "guardduty:ListDetectors"), reads(allDetectors, "guardduty:GetDetector"),
			writes("*", "guardduty:CreateDetector", "guardduty:TagResource"), writes(allDetectors, "guardduty:UpdateDetector"),
			permit(action.ApplyPhase, "arn:{partition}:iam::{account}:role/aws-service-role/guardduty.amazonaws.com/*", linked,
				"iam:CreateServiceLinkedRole"),
			undoes(allDetectors, "guardduty:UpdateDetector"), permit(action.UndoPhase, allDetectors, ours, "guardduty:DeleteDetector"),
		),
	}
}

func (d *detectorRestoral) read(ctx context.Context, in action.Input) (watching, error) {
	for _, name := range in.Params.Strings("features") {
		if !featureForm.MatchString(name) {
			return watching{}, fault.New(fault.Invalid, "features: %q is no feature of GuardDuty's", shorten(name))
		}
	}
	api, err := service(d.cloud, in.Place, guardduty.NewFromConfig)
	if err != nil {
		return watching{}, err
	}
	known, err := api.ListDetectors(ctx, &guardduty.ListDetectorsInput{})
	if err != nil {
		return watching{}, fmt.Errorf("list detectors: %w", classify(err))
	}
	if len(known.DetectorIds) == 0 {
		return watching{Status: noDetector}, nil
	}
	id := known.DetectorIds[0] // a region has one at most
	got, err := api.GetDetector(ctx, &guardduty.GetDetectorInput{DetectorId: aws.String(id)})
	if err != nil {
		return watching{}, fmt.Errorf("read detector %s: %w", id, classify(err))
	}
	state := watching{Status: string(got.Status), detector: id, tags: got.Tags}
	wanted := in.Params.Strings("features")
	for _, name := range wanted {
		if state.Features == nil {
			state.Features = map[string]string{}
		}
		state.Features[name] = disabled
	}
	for _, feature := range got.Features {
		if slices.Contains(wanted, string(feature.Name)) {
			state.Features[string(feature.Name)] = string(feature.Status)
		}
		if feature.Status == types.FeatureStatusDisabled {
			state.off = append(state.off, string(feature.Name))
		}
	}
	slices.Sort(state.off)
	return state, nil
}

func (d *detectorRestoral) write(ctx context.Context, in action.Input, _, to watching) (watching, error) {
	now, err := d.read(ctx, in)
	if err != nil {
		return watching{}, err
	}
	api, err := service(d.cloud, in.Place, guardduty.NewFromConfig)
	if err != nil {
		return watching{}, err
	}
	var features []types.DetectorFeatureConfiguration
	for _, name := range in.Params.Strings("features") {
		features = append(features, types.DetectorFeatureConfiguration{
			Name: types.DetectorFeature(name), Status: types.FeatureStatus(to.Features[name]),
		})
	}
	switch {
	case to.Status == noDetector && now.Status == noDetector:
	case to.Status == noDetector && now.tags[tagRun] != in.Run:
		return watching{}, fault.WithHint(fault.New(fault.Conflict, "detector %s was not made by this run", now.detector),
			"delete it by hand if it should go")
	case to.Status == noDetector:
		_, err = api.DeleteDetector(ctx, &guardduty.DeleteDetectorInput{DetectorId: aws.String(now.detector)})
	case now.Status == noDetector:
		_, err = api.CreateDetector(ctx, &guardduty.CreateDetectorInput{
			Enable: aws.Bool(to.Status == enabled), Features: features, Tags: marks(in), ClientToken: optional(in.Token),
		})
	default:
		_, err = api.UpdateDetector(ctx, &guardduty.UpdateDetectorInput{
			DetectorId: aws.String(now.detector), Enable: aws.Bool(to.Status == enabled), Features: features,
		})
	}
	if err != nil {
		return watching{}, fmt.Errorf("set GuardDuty's detector to %s: %w", to.Status, classify(err))
	}
	return to, nil
}

// optional is a text that may be left out.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return aws.String(text)
}

func (d *detectorRestoral) facts(_ context.Context, _ action.Input, now watching, c *action.Change) error {
	off := append([]string{}, now.off...)
	c.Outputs = map[string]any{"was": now.Status, "features_off": off}
	c.Impact = []string{"GuardDuty costs money for what it watches", "what happened while it was off is not found afterwards"}
	if now.Status == noDetector {
		c.Impact = append(c.Impact, "findings, filters and lists of the detector that was deleted are gone")
		return nil
	}
	c.Tags = now.tags
	c.Target = entity.Entity{
		Kind: entity.Detector, ID: now.detector, Part: entity.Target, Provider: "aws", Account: c.Account, Region: c.Region,
		ARN: "arn:" + d.cloud.self.Partition + ":guardduty:" + c.Region + ":" + c.Account + ":detector/" + now.detector,
	}
	if len(off) > 0 {
		c.Impact = append(c.Impact, "features that are off: "+strings.Join(off, ", ")+"; those that the step doesn't name stay so")
	}
	return nil
}

// Apply turns it on; later steps can use what the plan found.
func (d *detectorRestoral) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := d.Setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}
