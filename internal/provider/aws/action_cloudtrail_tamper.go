package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// ownTrail finds a trail that the step's account owns. One of the organization shows in every member's account, and
// isn't its own.
func (c *Cloud) ownTrail(ctx context.Context, in action.Input) (types.Trail, *cloudtrail.Client, error) {
	trail, api, err := restoreLogging(c).trail(ctx, in)
	if err != nil {
		return types.Trail{}, nil, err
	}
	at := c.here(in.Place)
	if parsed, err := arn.Parse(aws.ToString(trail.TrailARN)); err != nil || parsed.AccountID != at.Account {
		return types.Trail{}, nil, foreign("trail", aws.ToString(trail.TrailARN), at.Account)
	}
	return trail, api, nil
}

// trailFacts adds what is known of a trail to a plan.
func (c *Cloud) trailFacts(ctx context.Context, in action.Input, change *action.Change) error {
	trail, api, err := c.ownTrail(ctx, in)
	if err != nil {
		return err
	}
	tags, err := api.ListTags(ctx, &cloudtrail.ListTagsInput{ResourceIdList: []string{aws.ToString(trail.TrailARN)}})
	if err != nil {
		return fmt.Errorf("read tags of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	for _, resource := range tags.ResourceTagList {
		change.Tags = tagMap(resource.TagsList, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
	}
	change.Target.ARN = aws.ToString(trail.TrailARN)
	return nil
}

func trailParam() action.Param {
	return action.Param{Name: "trail", Type: action.String, Required: true, Entity: entity.Trail, Doc: "name or ARN of the trail"}
}

// validation is whether a trail's files are signed by digests.
type validation struct {
	Validates bool `json:"validates"`
}

// enableValidation makes aws.cloudtrail.enable_validation.
func enableValidation(c *Cloud) *placed[validation] {
	return setting(c, action.Setting[validation]{
		About: action.Spec{
			Name:    "aws.cloudtrail.enable_validation",
			Summary: "Let CloudTrail sign a trail's files again",
			Doc: "Turns on log file validation: from then on CloudTrail writes a signed digest of each hour's files, by which it shows " +
				"whether one was changed or deleted. Files of the time before can't be validated.\n\nUndo turns it off if it was off.",
			Effect: action.Contain, Params: []action.Param{trailParam()},
			Permissions: slices.Concat(
				reads("*", "cloudtrail:DescribeTrails"), reads(allTrails, "cloudtrail:ListTags"),
				writes(allTrails, "cloudtrail:UpdateTrail"), undoes(allTrails, "cloudtrail:UpdateTrail"),
			),
		},
		Target: restoreLogging(c).target,
		Read: func(ctx context.Context, in action.Input) (validation, error) {
			trail, _, err := c.ownTrail(ctx, in)
			return validation{Validates: aws.ToBool(trail.LogFileValidationEnabled)}, err
		},
		Want: func(action.Input, validation) (validation, error) { return validation{Validates: true}, nil },
		Write: func(ctx context.Context, in action.Input, _, to validation) (validation, error) {
			trail, api, err := c.ownTrail(ctx, in)
			if err != nil {
				return validation{}, err
			}
			_, err = api.UpdateTrail(ctx, &cloudtrail.UpdateTrailInput{Name: trail.Name, EnableLogFileValidation: aws.Bool(to.Validates)})
			if err != nil {
				return validation{}, fmt.Errorf("set log file validation of trail %s to %t: %w", aws.ToString(trail.Name), to.Validates, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ validation) []string {
			return []string{"cloudtrail:UpdateTrail " + in.Params.String("trail") + ", EnableLogFileValidation=true"}
		},
		Summary: func(in action.Input, _, _ validation) string {
			return "CloudTrail signs the files of trail " + in.Params.String("trail")
		},
		Facts: func(ctx context.Context, in action.Input, _ validation, change *action.Change) error {
			change.Impact = []string{"files of the time while it was off can't be validated", "digest files are written into the trail's bucket"}
			return c.trailFacts(ctx, in, change)
		},
	})
}

// selection is which events a trail logs. It has selectors of one kind or of the other.
type selection struct {
	Basic    []basicSelector    `json:"basic,omitempty"`
	Advanced []advancedSelector `json:"advanced,omitempty"`
}

type basicSelector struct {
	ReadWrite  string         `json:"read_write"`
	Management bool           `json:"management"`
	Exclude    []string       `json:"exclude,omitempty"`
	Data       []dataResource `json:"data,omitempty"`
}

type dataResource struct {
	Type   string   `json:"type"`
	Values []string `json:"values,omitempty"`
}

type advancedSelector struct {
	Name   string          `json:"name,omitempty"`
	Fields []fieldSelector `json:"fields"`
}

type fieldSelector struct {
	Field         string   `json:"field"`
	Equals        []string `json:"equals,omitempty"`
	NotEquals     []string `json:"not_equals,omitempty"`
	StartsWith    []string `json:"starts_with,omitempty"`
	NotStartsWith []string `json:"not_starts_with,omitempty"`
	EndsWith      []string `json:"ends_with,omitempty"`
	NotEndsWith   []string `json:"not_ends_with,omitempty"`
}

// mostSelectors is CloudTrail's bound on a trail's basic selectors.
const mostSelectors = 5

// restoreSelectors makes aws.cloudtrail.restore_selectors.
func restoreSelectors(c *Cloud) *placed[selection] {
	return setting(c, action.Setting[selection]{
		About:  restoreSelectorsSpec(),
		Target: restoreLogging(c).target,
		Read:   c.readSelection,
		Want:   func(_ action.Input, now selection) (selection, error) { return now.withManagement() },
		Write:  c.writeSelection,
		Calls: func(in action.Input, _, _ selection) []string {
			return []string{"cloudtrail:PutEventSelectors " + in.Params.String("trail") + ", all management events"}
		},
		Summary: func(in action.Input, _, _ selection) string {
			return fmt.Sprintf("Trail %s logs all management events", in.Params.String("trail"))
		},
		Facts: func(ctx context.Context, in action.Input, now selection, change *action.Change) error {
			change.Impact = []string{
				"management events that were left out so far are not in the trail's files; the event history keeps those of 90 days",
				"a second trail that logs management events costs money for each of them",
			}
			return c.trailFacts(ctx, in, change)
		},
	})
}

func restoreSelectorsSpec() action.Spec {
	return action.Spec{
		Name:    "aws.cloudtrail.restore_selectors",
		Summary: "Let a trail log all management events again",
		Doc: "Sets the trail's event selectors so that it logs management events of every kind and source, reading and writing. Selectors of " +
			"data events and of network activity stay as they are; whether some of those were taken away, it can't know.\n\n" +
			"Undo puts the selectors back as they were.",
		Effect: action.Contain, Params: []action.Param{trailParam()},
		Permissions: slices.Concat(
			reads("*", "cloudtrail:DescribeTrails"), reads(allTrails, "cloudtrail:GetEventSelectors", "cloudtrail:ListTags"),
			writes(allTrails, "cloudtrail:PutEventSelectors"), undoes(allTrails, "cloudtrail:PutEventSelectors"),
		),
	}
}

// withManagement gives selectors that let through all management events, and of the rest what there is.
func (s selection) withManagement() (selection, error) {
	if len(s.Advanced) > 0 {
		want := selection{Advanced: []advancedSelector{{
			Name: "Management events", Fields: []fieldSelector{{Field: "eventCategory", Equals: []string{"Management"}}},
		}}}
		for _, each := range s.Advanced {
			if each.allManagement() {
				return s, nil
			}
			if !each.management() {
				want.Advanced = append(want.Advanced, each)
			}
		}
		return want, nil
	}
	all := basicSelector{ReadWrite: string(types.ReadWriteTypeAll), Management: true}
	if slices.ContainsFunc(s.Basic, basicSelector.allManagement) {
		return s, nil
	}
	want := selection{Basic: []basicSelector{all}}
	for _, each := range s.Basic {
		if len(each.Data) == 0 {
			continue // it chose among management events alone
		}
		each.Management, each.Exclude = false, nil
		want.Basic = append(want.Basic, each)
	}
	if len(want.Basic) > mostSelectors {
		return s, fault.WithHint(fault.New(fault.Invalid, "the trail has %d selectors of data events, and may have %d selectors in all",
			len(want.Basic)-1, mostSelectors), "take two of them together, or use advanced selectors")
	}
	return want, nil
}

func (b basicSelector) allManagement() bool {
	return b.Management && b.ReadWrite == string(types.ReadWriteTypeAll) && len(b.Exclude) == 0
}

func (a advancedSelector) management() bool {
	return slices.ContainsFunc(a.Fields, func(f fieldSelector) bool {
		return f.Field == "eventCategory" && slices.Contains(f.Equals, "Management")
	})
}

func (a advancedSelector) allManagement() bool { return a.management() && len(a.Fields) == 1 }

func (c *Cloud) readSelection(ctx context.Context, in action.Input) (selection, error) {
	trail, api, err := c.ownTrail(ctx, in)
	if err != nil {
		return selection{}, err
	}
	got, err := api.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: trail.TrailARN})
	if err != nil {
		return selection{}, fmt.Errorf("read event selectors of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	var state selection
	for _, s := range got.AdvancedEventSelectors {
		one := advancedSelector{Name: aws.ToString(s.Name)}
		for _, f := range s.FieldSelectors {
			one.Fields = append(one.Fields, fieldSelector{
				Field: aws.ToString(f.Field), Equals: f.Equals, NotEquals: f.NotEquals, StartsWith: f.StartsWith,
				NotStartsWith: f.NotStartsWith, EndsWith: f.EndsWith, NotEndsWith: f.NotEndsWith,
			})
		}
		state.Advanced = append(state.Advanced, one)
	}
	for _, s := range got.EventSelectors {
		one := basicSelector{
			ReadWrite: string(s.ReadWriteType), Management: s.IncludeManagementEvents == nil || *s.IncludeManagementEvents,
			Exclude: s.ExcludeManagementEventSources,
		}
		for _, d := range s.DataResources {
			one.Data = append(one.Data, dataResource{Type: aws.ToString(d.Type), Values: d.Values})
		}
		state.Basic = append(state.Basic, one)
	}
	if len(state.Advanced) == 0 && len(state.Basic) == 0 { // what a trail logs by default
		state.Basic = []basicSelector{{ReadWrite: string(types.ReadWriteTypeAll), Management: true}}
	}
	return state, nil
}

func (c *Cloud) writeSelection(ctx context.Context, in action.Input, _, to selection) (selection, error) {
	trail, api, err := c.ownTrail(ctx, in)
	if err != nil {
		return selection{}, err
	}
	put := &cloudtrail.PutEventSelectorsInput{TrailName: trail.Name}
	for _, s := range to.Advanced {
		one := types.AdvancedEventSelector{Name: optional(s.Name)}
		for _, f := range s.Fields {
			one.FieldSelectors = append(one.FieldSelectors, types.AdvancedFieldSelector{
				Field: aws.String(f.Field), Equals: f.Equals, NotEquals: f.NotEquals, StartsWith: f.StartsWith,
				NotStartsWith: f.NotStartsWith, EndsWith: f.EndsWith, NotEndsWith: f.NotEndsWith,
			})
		}
		put.AdvancedEventSelectors = append(put.AdvancedEventSelectors, one)
	}
	for _, s := range to.Basic {
		one := types.EventSelector{
			ReadWriteType: types.ReadWriteType(s.ReadWrite), IncludeManagementEvents: aws.Bool(s.Management),
			ExcludeManagementEventSources: s.Exclude,
		}
		for _, d := range s.Data {
			one.DataResources = append(one.DataResources, types.DataResource{Type: aws.String(d.Type), Values: d.Values})
		}
		put.EventSelectors = append(put.EventSelectors, one)
	}
	if _, err := api.PutEventSelectors(ctx, put); err != nil {
		return selection{}, fmt.Errorf("set event selectors of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	return to, nil
}
