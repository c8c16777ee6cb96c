package aws

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

const allTrails = "arn:{partition}:cloudtrail:{region}:{account}:trail/*"

var trailName = shaped(`^[A-Za-z0-9][A-Za-z0-9._-]{2,127}$`)

// logging is whether a trail logs.
type logging struct {
	Logging bool `json:"logging"`
}

// restore is aws.cloudtrail.restore_logging.
type restore struct {
	placed[logging]
}

func restoreLogging(c *Cloud) *restore {
	r := &restore{placed: placed[logging]{cloud: c}}
	r.Setting = action.Setting[logging]{
		About:  restoreSpec(),
		Target: r.target,
		Read:   r.read,
		Want:   func(action.Input, logging) (logging, error) { return logging{Logging: true}, nil },
		Write:  r.write,
		Calls: func(in action.Input, _, _ logging) []string {
			return []string{"cloudtrail:StartLogging " + in.Params.String("trail")}
		},
		Summary: func(in action.Input, from, _ logging) string {
			if from.Logging {
				return fmt.Sprintf("Trail %s logs", in.Params.String("trail"))
			}
			return fmt.Sprintf("Trail %s logs again", in.Params.String("trail"))
		},
		Facts: r.facts,
	}
	return r
}

func restoreSpec() action.Spec {
	return action.Spec{
		Name:    "aws.cloudtrail.restore_logging",
		Summary: "Start a trail's logging again",
		Doc: "Starts the trail in its home region. What happened while it was stopped is not in its files; the event history " +
			"keeps management events for 90 days. Event selectors, log file validation and regions are not changed: the plan " +
			"says what they are, so that people see what else was tampered with. A trail that was deleted is not made anew.\n\n" +
			"**Undo stops the logging** if it was stopped before: undo restores what the plan saw, whatever that was. It is " +
			"seldom what you want.",
		Effect: action.Contain,
		Params: []action.Param{{
			Name: "trail", Type: action.String, Required: true, Entity: entity.Trail, Doc: "name or ARN of the trail",
		}},
		Outputs: []action.Output{
			{Name: "was_logging", Type: action.Bool, Doc: "whether it logged when the plan was made"},
			{Name: "home_region", Type: action.String, Doc: "region in which the trail was made"},
			{Name: "multi_region", Type: action.Bool, Doc: "whether it logs all regions"},
			{Name: "log_validation", Type: action.Bool, Doc: "whether its files are signed by digests"},
			{Name: "management_events", Type: action.String, Doc: "all, part or none of the management events are logged; advanced where advanced selectors say"},
		},
		Permissions: []action.Permission{
			{Name: "cloudtrail:DescribeTrails", Resource: "*", Phase: action.PlanPhase},
			{Name: "cloudtrail:GetTrailStatus", Resource: allTrails, Phase: action.PlanPhase},
			{Name: "cloudtrail:GetEventSelectors", Resource: allTrails, Phase: action.PlanPhase},
			{Name: "cloudtrail:ListTags", Resource: allTrails, Phase: action.PlanPhase},
			{Name: "cloudtrail:StartLogging", Resource: allTrails, Phase: action.ApplyPhase},
			{Name: "cloudtrail:StopLogging", Resource: allTrails, Phase: action.UndoPhase},
		},
	}
}

func (r *restore) target(in action.Input) entity.Entity {
	at := r.cloud.here(in.Place)
	e := entity.Entity{
		Kind: entity.Trail, ID: in.Params.String("trail"), Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
	}
	if parsed, name, ok := trailARN(e.ID); ok {
		e.ID, e.ARN, e.Account, e.Region = name, parsed.String(), parsed.AccountID, parsed.Region
	}
	return e
}

func trailARN(text string) (parsed arn.ARN, name string, ok bool) {
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "cloudtrail" {
		return arn.ARN{}, "", false
	}
	name, ok = strings.CutPrefix(parsed.Resource, "trail/")
	return parsed, name, ok && trailName.MatchString(name)
}

// trail finds a trail by its name or ARN, with a client in its home region.
func (r *restore) trail(ctx context.Context, in action.Input) (types.Trail, *cloudtrail.Client, error) {
	text := in.Params.String("trail")
	at := r.cloud.here(in.Place)
	parsed, _, isARN := trailARN(text)
	switch {
	case !isARN && !trailName.MatchString(text):
		return types.Trail{}, nil, fault.New(fault.Invalid, "%q is neither a trail's name nor its ARN", shorten(text))
	case isARN && parsed.AccountID != at.Account:
		return types.Trail{}, nil, fault.WithHint(fault.New(fault.Invalid, "trail %s is not of account %s", text, at.Account),
			"a trail of the organization is started in its own account: give the step account: \""+parsed.AccountID+"\"")
	case isARN:
		at.Region = parsed.Region
	}
	api, err := r.trails(at)
	if err != nil {
		return types.Trail{}, nil, err
	}
	got, err := api.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(true)})
	if err != nil {
		return types.Trail{}, nil, fmt.Errorf("list trails: %w", classify(err))
	}
	found, err := pickTrail(got.TrailList, text, at)
	if err != nil {
		return types.Trail{}, nil, err
	}
	if home := aws.ToString(found.HomeRegion); home != "" && home != at.Region {
		at.Region = home
		api, err = r.trails(at)
	}
	return found, api, err
}

// pickTrail picks the one trail of that name or ARN. Trails of several regions may share a name: the one
// whose home is the region asked is meant, else there must be one alone.
func pickTrail(list []types.Trail, nameOrARN string, at action.Place) (types.Trail, error) {
	var named []types.Trail
	for _, t := range list {
		if aws.ToString(t.TrailARN) == nameOrARN {
			return t, nil
		}
		if aws.ToString(t.Name) == nameOrARN {
			if aws.ToString(t.HomeRegion) == at.Region {
				return t, nil
			}
			named = append(named, t)
		}
	}
	switch len(named) {
	case 0:
		return types.Trail{}, fault.WithHint(fault.New(fault.NotFound, "account %s has no trail %s in %s", at.Account, nameOrARN, at.Region),
			"if it was deleted, make it anew from your templates")
	case 1:
		return named[0], nil
	}
	return types.Trail{}, fault.WithHint(fault.New(fault.Invalid, "%d trails are named %s", len(named), nameOrARN), "give the trail's ARN")
}

func (r *restore) trails(at action.Place) (*cloudtrail.Client, error) {
	return client(r.cloud, at, func(made aws.Config) *cloudtrail.Client { return cloudtrail.NewFromConfig(made) })
}

func (r *restore) read(ctx context.Context, in action.Input) (logging, error) {
	trail, api, err := r.trail(ctx, in)
	if err != nil {
		return logging{}, err
	}
	got, err := api.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: trail.TrailARN})
	if err != nil {
		return logging{}, fmt.Errorf("read status of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	return logging{Logging: aws.ToBool(got.IsLogging)}, nil
}

func (r *restore) write(ctx context.Context, in action.Input, _, to logging) (logging, error) {
	trail, api, err := r.trail(ctx, in)
	if err != nil {
		return logging{}, err
	}
	if to.Logging {
		_, err = api.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: trail.Name})
	} else {
		_, err = api.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: trail.Name})
	}
	if err != nil {
		return logging{}, fmt.Errorf("set logging of trail %s to %t: %w", aws.ToString(trail.Name), to.Logging, classify(err))
	}
	return to, nil
}

func (r *restore) facts(ctx context.Context, in action.Input, now logging, c *action.Change) error {
	trail, api, err := r.trail(ctx, in)
	if err != nil {
		return err
	}
	tags, err := api.ListTags(ctx, &cloudtrail.ListTagsInput{ResourceIdList: []string{aws.ToString(trail.TrailARN)}})
	if err != nil {
		return fmt.Errorf("read tags of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	for _, resource := range tags.ResourceTagList {
		for _, tag := range resource.TagsList {
			if c.Tags == nil {
				c.Tags = map[string]string{}
			}
			c.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	selectors, err := api.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: trail.TrailARN})
	if err != nil {
		return fmt.Errorf("read event selectors of trail %s: %w", aws.ToString(trail.Name), classify(err))
	}
	c.Target.ARN = aws.ToString(trail.TrailARN)
	management := managementEvents(selectors)
	c.Outputs = map[string]any{
		"was_logging": now.Logging, "home_region": aws.ToString(trail.HomeRegion),
		"multi_region": aws.ToBool(trail.IsMultiRegionTrail), "log_validation": aws.ToBool(trail.LogFileValidationEnabled),
		"management_events": management,
	}
	c.Impact = trailImpact(trail, management)
	return nil
}

// managementEvents says how much of the management events a trail's selectors let through.
func managementEvents(selectors *cloudtrail.GetEventSelectorsOutput) string {
	if len(selectors.AdvancedEventSelectors) > 0 {
		return "advanced"
	}
	if len(selectors.EventSelectors) == 0 {
		return "all" // what a trail logs by default
	}
	some := "none"
	for _, s := range selectors.EventSelectors {
		if s.IncludeManagementEvents != nil && !*s.IncludeManagementEvents {
			continue
		}
		if s.ReadWriteType == types.ReadWriteTypeAll && len(s.ExcludeManagementEventSources) == 0 {
			return "all"
		}
		some = "part"
	}
	return some
}

func trailImpact(trail types.Trail, management string) []string {
	impact := []string{"what happened while it was stopped is not in its files"}
	if !aws.ToBool(trail.IsMultiRegionTrail) {
		impact = append(impact, "the trail logs "+aws.ToString(trail.HomeRegion)+" alone")
	}
	if !aws.ToBool(trail.LogFileValidationEnabled) {
		impact = append(impact, "its files are not protected by digests (log file validation is off)")
	}
	switch management {
	case "part", "none":
		impact = append(impact, "its event selectors let through "+management+" of the management events; this action leaves them so")
	case "advanced":
		impact = append(impact, "it has advanced event selectors: look whether they were narrowed; this action leaves them so")
	}
	return impact
}

// Apply starts the trail; later steps can use what the plan found.
func (r *restore) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := r.Setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}
