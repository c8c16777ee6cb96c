package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// importer is aws.securityhub.import_findings.
type importer struct{ cloud *Cloud }

func importFindings(c *Cloud) importer { return importer{c} }

// Spec describes the action.
func (importer) Spec() action.Spec {
	return action.Spec{
		Name:    "aws.securityhub.import_findings",
		Summary: "Show what Riposte found in Security Hub, as a finding in ASFF",
		Doc: "Imports one finding of the account's own default product, so that those who work in Security Hub see what Riposte " +
			"found by its own rules. It is known by its incident: the same step done again, or a later one of the same incident, " +
			"updates it. With `archived` it goes to the archive, as when the matter is over. What is longer than Security Hub " +
			"takes is cut. Riposte knows its own findings when Security Hub tells of them, and makes none of them.\n\n" +
			"Security Hub takes findings of the default product from their own account only, so it is that of the step.",
		Effect: action.Notify,
		Params: []action.Param{
			{Name: "title", Type: action.String, Required: true, Doc: "what was found, one line"},
			{Name: "description", Type: action.String, Doc: "more of it; the title if it is left out"},
			{Name: "severity", Type: action.String, Default: "high", Doc: "critical, high, medium, low, informational"},
			{Name: "resources", Type: action.Strings, Doc: "ARNs of what it is about, at most 32; the account if there are none"},
			{Name: "types", Type: action.Strings, Doc: "ASFF's types, such as `TTPs/Credential Access`; `Unusual Behaviors` if there are none"},
			{Name: "finding_id", Type: action.String, Doc: "tells several findings of one incident apart"},
			{Name: "archived", Type: action.Bool, Default: false, Doc: "whether it goes to the archive"},
		},
		Outputs: []action.Output{
			{Name: "id", Type: action.String, Doc: "the finding's Id"},
			{Name: "product_arn", Type: action.String, Doc: "the finding's ProductArn"},
		},
		Permissions: []action.Permission{{
			Name: "securityhub:BatchImportFindings", Resource: "arn:{partition}:securityhub:{region}:{account}:product/{account}/default",
			Phase: action.ApplyPhase,
		}},
	}
}

// Plan says what would be imported. It asks nobody.
func (i importer) Plan(_ context.Context, in action.Input) (action.Change, error) {
	in.Place = i.cloud.here(in.Place)
	if err := checkRegion(in.Region); err != nil {
		return action.Change{}, err
	}
	if !IsAccount(in.Account) {
		return action.Change{}, fault.New(fault.Invalid, "%.40q is no account: its id has 12 digits", in.Account)
	}
	shown, err := i.finding(in, time.Time{})
	if err != nil {
		return action.Change{}, err
	}
	params, err := json.Marshal(in.Params)
	if err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	id := aws.ToString(shown.Id)
	return action.Change{
		Action: i.Spec().Name, Place: in.Place, Params: params,
		Target: entity.Entity{
			Kind: entity.Resource, ID: id, Part: entity.Target, Provider: "aws", Account: in.Account, Region: in.Region,
		},
		Calls:    []string{"securityhub:BatchImportFindings " + id},
		Summary:  fmt.Sprintf("Security Hub of account %s shows: %s", in.Account, aws.ToString(shown.Title)),
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}, nil
}

// Apply imports the finding. The same one again updates it.
func (i importer) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	in, err := c.Input()
	if err != nil {
		return action.Result{}, err
	}
	shown, err := i.finding(in, time.Now())
	if err != nil {
		return action.Result{}, err
	}
	api, err := client(i.cloud, in.Place, func(made aws.Config) *securityhub.Client { return securityhub.NewFromConfig(made) })
	if err != nil {
		return action.Result{}, err
	}
	done, err := api.BatchImportFindings(ctx, &securityhub.BatchImportFindingsInput{Findings: []types.AwsSecurityFinding{shown}})
	if err != nil {
		return action.Result{}, fmt.Errorf("import finding %s: %w", aws.ToString(shown.Id), classify(err))
	}
	if len(done.FailedFindings) > 0 {
		return action.Result{}, notImported(done.FailedFindings[0])
	}
	return action.Result{Changed: true, Outputs: map[string]any{
		"id": aws.ToString(shown.Id), "product_arn": aws.ToString(shown.ProductArn),
	}}, nil
}

// finding makes the finding of a step's parameters.
func (i importer) finding(in action.Input, now time.Time) (types.AwsSecurityFinding, error) {
	return asff{
		Self: i.cloud.self, Place: in.Place, Incident: in.Incident, Run: in.Run, ID: in.Params.String("finding_id"),
		Title: in.Params.String("title"), Description: in.Params.String("description"), Severity: in.Params.String("severity"),
		Types: in.Params.Strings("types"), Resources: in.Params.Strings("resources"), Archived: in.Params.Bool("archived"), Now: now,
	}.finding()
}

// notImported is the error of a finding that Security Hub refused though it took the request.
func notImported(f types.ImportFindingsError) error {
	kind := fault.Invalid
	switch aws.ToString(f.ErrorCode) {
	case "InternalFailure", "InternalError", "ServiceUnavailable", "ConcurrentUpdateError", "LimitExceeded", "Throttling":
		kind = fault.Transient
	}
	return fault.New(kind, "Security Hub did not import finding %s: %s %s", aws.ToString(f.Id), aws.ToString(f.ErrorCode), aws.ToString(f.ErrorMessage))
}

// ownProduct is the ARN of the default product of an account, under which its own findings are.
func ownProduct(partition string, at action.Place) string {
	return arn.ARN{
		Partition: partition, Service: "securityhub", Region: at.Region, AccountID: at.Account, Resource: "product/" + at.Account + "/default",
	}.String()
}
