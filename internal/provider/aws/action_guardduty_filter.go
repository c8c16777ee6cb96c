package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	findingType   = shaped(`^[A-Za-z0-9]+:[A-Za-z0-9]+/[A-Za-z0-9.&!-]+$`)
	criterionForm = shaped(`^[a-zA-Z][a-zA-Z0-9]*(\.[a-zA-Z0-9]+)*$`)
	// notDescribed is what GuardDuty doesn't take in a description.
	notDescribed = shaped(`[^A-Za-z0-9 .:_{}\[\]()/-]`)
)

const (
	longestFilterDescription = 512
	mostCriteria             = 10
	mostValues               = 50 // of one criterion, GuardDuty's bound
	typeCriterion            = "type"
)

// filtering is a filter by which GuardDuty archives findings as they come.
type filtering struct {
	There       bool                `json:"there"`
	Action      string              `json:"action,omitempty"`
	Description string              `json:"description,omitempty"`
	Criteria    map[string][]string `json:"criteria,omitempty"` // by field, the values that match
	Other       string              `json:"other,omitempty"`    // whatever else it demands, as JSON
}

// filterRule is aws.guardduty.suppress_finding.
type filterRule struct {
	placed[filtering]
}

func suppressFinding(c *Cloud) *filterRule {
	f := &filterRule{placed[filtering]{cloud: c}}
	f.Setting = action.Setting[filtering]{
		About: suppressSpec(),
		Target: func(in action.Input) entity.Entity {
			at, id := c.here(in.Place), in.Params.String("detector_id")
			return entity.Entity{
				Kind: entity.Detector, ID: id, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
				ARN: "arn:" + c.self.Partition + ":guardduty:" + at.Region + ":" + at.Account + ":detector/" + id,
			}
		},
		Read: f.read,
		Want: func(in action.Input, _ filtering) (filtering, error) {
			criteria, err := criteriaOf(in)
			return filtering{There: true, Action: string(types.FilterActionArchive), Description: filterDescription(in), Criteria: criteria}, err
		},
		Write: f.write,
		Calls: func(in action.Input, from, _ filtering) []string {
			return []string{flip(from.There, "guardduty:UpdateFilter ", "guardduty:CreateFilter ") + filterName(in)}
		},
		Summary: func(in action.Input, _, to filtering) string {
			return fmt.Sprintf("GuardDuty archives findings of %s by itself: %s", criteriaText(to.Criteria), to.Description)
		},
		Facts: func(_ context.Context, in action.Input, _ filtering, c *action.Change) error {
			c.Outputs = map[string]any{"filter": filterName(in)}
			c.Impact = []string{
				"findings that match are archived as they come: they reach neither EventBridge nor Security Hub, nor Riposte",
				"GuardDuty doesn't end it on the date: somebody must undo it then",
			}
			return nil
		},
	}
	return f
}

func suppressSpec() action.Spec {
	filters := allDetectors[:len(allDetectors)-1] + "*/filter/riposte-*"
	return action.Spec{
		Name:    "aws.guardduty.suppress_finding",
		Summary: "Let GuardDuty archive findings of one kind by itself",
		Doc: "Makes a filter of the detector that archives every new finding of the type which also meets the criteria. At least one criterion " +
			"is needed: a type alone would hide every attack of its kind. The description says who owns it, until when, and which incident it " +
			"comes from. GuardDuty itself knows no end: undo deletes the filter, and the date says when that is due.\n\n" +
			"What is archived so reaches nobody, Riposte included. A suppression in Riposte, which ends by itself and counts what it " +
			"hides, is mostly the better choice. Findings that exist stay as they are.\n\n" +
			"Undo deletes the filter, or sets it as it was where there was one of that name.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "detector_id", Type: action.String, Required: true, Entity: entity.Detector, Doc: "id of the detector"},
			{Name: "finding_type", Type: action.String, Required: true, Doc: "the findings' type: Recon:EC2/Portscan"},
			{
				Name: "criteria", Type: action.Object, Required: true,
				Doc: "GuardDuty's fields with the values that match: {resource.instanceDetails.instanceId: [i-...]}",
			},
			{Name: "owner", Type: action.String, Required: true, Doc: "who answers for it"},
			{Name: "until", Type: action.String, Required: true, Doc: "the day it is to be deleted: 2026-12-31"},
		},
		Outputs: []action.Output{{Name: "filter", Type: action.String, Doc: "name of the filter"}},
		Permissions: slices.Concat(
			reads(allDetectors, "guardduty:GetDetector"), reads(filters, "guardduty:GetFilter"),
			writes(allDetectors, "guardduty:CreateFilter"), writes(filters, "guardduty:UpdateFilter"),
			undoes(allDetectors, "guardduty:CreateFilter"), undoes(filters, "guardduty:DeleteFilter", "guardduty:UpdateFilter"),
		),
	}
}

// criteriaOf reads a step's criteria, with the type among them. They are bounded, and none is empty.
func criteriaOf(in action.Input) (map[string][]string, error) {
	kind := in.Params.String("finding_type")
	if !findingType.MatchString(kind) {
		return nil, fault.New(fault.Invalid, "finding_type: %q is no type of GuardDuty's findings", shorten(kind))
	}
	given, _ := in.Params["criteria"].(map[string]any)
	if len(given) == 0 || len(given) > mostCriteria {
		return nil, fault.New(fault.Invalid, "criteria: give between 1 and %d; a type alone would hide every attack of its kind", mostCriteria)
	}
	criteria := map[string][]string{typeCriterion: {kind}}
	for field, value := range given {
		if !criterionForm.MatchString(field) || field == typeCriterion {
			return nil, fault.New(fault.Invalid, "criteria: %q is no field to filter by", shorten(field))
		}
		values, err := sortedTexts(value)
		if err != nil || len(values) == 0 || len(values) > mostValues {
			return nil, fault.New(fault.Invalid, "criteria: %s: give between 1 and %d texts", field, mostValues)
		}
		slices.Sort(values)
		criteria[field] = values
	}
	return criteria, nil
}

// sortedTexts reads one text or a list of them. Empty ones are an error.
func sortedTexts(value any) ([]string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var one string
	if json.Unmarshal(text, &one) == nil {
		text, _ = json.Marshal([]string{one}) //nolint:errchkjson // a text
	}
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" || len(s) > 2048 }) {
		return nil, fault.New(fault.Invalid, "a value is empty or too long")
	}
	return list, nil
}

func criteriaText(criteria map[string][]string) string {
	var parts []string
	for _, field := range slices.Sorted(maps.Keys(criteria)) {
		parts = append(parts, field+" "+shorten(strings.Join(criteria[field], ", ")))
	}
	return strings.Join(parts, "; ")
}

// filterName is the same for the same criteria, so that asking twice makes one filter.
func filterName(in action.Input) string {
	criteria, err := criteriaOf(in)
	if err != nil {
		return snapshotPrefix // Read has refused it
	}
	sum := sha256.Sum256([]byte(criteriaText(criteria) + fmt.Sprint(criteria))) // maps print in the order of their keys
	return snapshotPrefix + hex.EncodeToString(sum[:12])
}

// filterDescription says who owns a filter, and until when, in what characters GuardDuty takes.
func filterDescription(in action.Input) string {
	text := fmt.Sprintf("owner: %s - until: %s - incident: %s - %s",
		in.Params.String("owner"), in.Params.String("until"), in.Incident, in.Reason)
	text = notDescribed.ReplaceAllString(text, "_")
	return text[:min(len(text), longestFilterDescription)]
}

func (f *filterRule) client(in action.Input) (*guardduty.Client, error) {
	if id := in.Params.String("detector_id"); !guardDutyID.MatchString(id) {
		return nil, fault.New(fault.Invalid, "detector_id: %q is not an id of GuardDuty's", shorten(id))
	}
	if _, err := time.Parse(time.DateOnly, in.Params.String("until")); err != nil {
		return nil, fault.New(fault.Invalid, "until: %q is no day, such as 2026-12-31", shorten(in.Params.String("until")))
	}
	if _, err := criteriaOf(in); err != nil {
		return nil, err
	}
	return service(f.cloud, in.Place, guardduty.NewFromConfig)
}

func (f *filterRule) read(ctx context.Context, in action.Input) (filtering, error) {
	api, err := f.client(in)
	if err != nil {
		return filtering{}, err
	}
	id := aws.String(in.Params.String("detector_id"))
	if _, err := api.GetDetector(ctx, &guardduty.GetDetectorInput{DetectorId: id}); err != nil {
		return filtering{}, fmt.Errorf("read detector %s: %w", *id, missingDetector(err))
	}
	got, err := api.GetFilter(ctx, &guardduty.GetFilterInput{DetectorId: id, FilterName: aws.String(filterName(in))})
	if gone(err) || err != nil && strings.Contains(err.Error(), "no such resource") { // it has no code of its own
		return filtering{}, nil
	}
	if err != nil {
		return filtering{}, fmt.Errorf("read filter %s: %w", filterName(in), classify(err))
	}
	return filteringOf(got)
}

// missingDetector gives an error of a detector that isn't there its kind: GuardDuty has no code for it.
func missingDetector(err error) error {
	if strings.Contains(err.Error(), "not owned by the current account") {
		return fault.Wrap(fault.NotFound, err)
	}
	return classify(err)
}

func filteringOf(got *guardduty.GetFilterOutput) (filtering, error) {
	state := filtering{There: true, Action: string(got.Action), Description: aws.ToString(got.Description), Criteria: map[string][]string{}}
	if got.FindingCriteria == nil {
		return state, nil
	}
	other := map[string]types.Condition{}
	for field, condition := range got.FindingCriteria.Criterion {
		values := slices.Clone(condition.Equals)
		condition.Equals = nil
		text, err := json.Marshal(condition)
		if err != nil {
			return filtering{}, fmt.Errorf("encode criteria: %w", err)
		}
		var rest map[string]any
		if err := json.Unmarshal(text, &rest); err != nil {
			return filtering{}, fmt.Errorf("read criteria: %w", err)
		}
		maps.DeleteFunc(rest, func(_ string, v any) bool { return v == nil })
		if len(values) > 0 {
			slices.Sort(values)
			state.Criteria[field] = values
			delete(rest, "Eq") // the same values under the older name
		}
		if len(rest) > 0 {
			other[field] = condition
		}
	}
	if len(other) > 0 {
		text, err := json.Marshal(other)
		if err != nil {
			return filtering{}, fmt.Errorf("encode criteria: %w", err)
		}
		state.Other = string(text)
	}
	return state, nil
}

func (f *filterRule) write(ctx context.Context, in action.Input, from, to filtering) (filtering, error) {
	api, err := f.client(in)
	if err != nil {
		return filtering{}, err
	}
	detector, name := aws.String(in.Params.String("detector_id")), aws.String(filterName(in))
	criteria, err := to.criteria()
	if err != nil {
		return filtering{}, err
	}
	switch {
	case !to.There:
		_, err = api.DeleteFilter(ctx, &guardduty.DeleteFilterInput{DetectorId: detector, FilterName: name})
	case from.There:
		_, err = api.UpdateFilter(ctx, &guardduty.UpdateFilterInput{
			DetectorId: detector, FilterName: name, Action: types.FilterAction(to.Action), Description: aws.String(to.Description),
			FindingCriteria: criteria,
		})
	default:
		_, err = api.CreateFilter(ctx, &guardduty.CreateFilterInput{
			DetectorId: detector, Name: name, Action: types.FilterAction(to.Action), Description: aws.String(to.Description),
			FindingCriteria: criteria, ClientToken: optional(in.Token),
		})
	}
	if err != nil {
		return filtering{}, fmt.Errorf("set filter %s: %w", *name, classify(err))
	}
	return to, nil
}

// criteria puts a filter's into GuardDuty's form.
func (f filtering) criteria() (*types.FindingCriteria, error) {
	all := map[string]types.Condition{}
	if f.Other != "" {
		if err := json.Unmarshal([]byte(f.Other), &all); err != nil {
			return nil, fmt.Errorf("read criteria: %w", err)
		}
	}
	for field, values := range f.Criteria {
		condition := all[field]
		condition.Equals = values
		all[field] = condition
	}
	return &types.FindingCriteria{Criterion: all}, nil
}

// Apply makes the filter; later steps can use its name.
func (f *filterRule) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := f.Setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}
