package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// invoker is one statement of a function's policy, in the words of AddPermission: it can be put back.
type invoker struct {
	Sid         string `json:"sid"`
	Action      string `json:"action"`
	Principal   string `json:"principal"`
	SourceARN   string `json:"source_arn,omitempty"`
	Account     string `json:"source_account,omitempty"`
	Token       string `json:"event_source_token,omitempty"` // Alexa's: no secret, it is the skill's id
	OrgID       string `json:"org_id,omitempty"`
	URLAuthType string `json:"url_auth_type,omitempty"`
	ViaURL      bool   `json:"via_url,omitempty"`
}

// invokers are the statements that let in those whom a step shuts out, sorted.
type invokers struct {
	Statements []invoker `json:"statements"`
}

// removeFunctionPermissions makes aws.lambda.remove_public_permissions.
func removeFunctionPermissions(c *Cloud) *placed[invokers] {
	return setting(c, action.Setting[invokers]{
		About:  functionPermissionsSpec(),
		Target: functionTarget(c),
		Read:   c.readInvokers,
		Want:   func(action.Input, invokers) (invokers, error) { return invokers{Statements: []invoker{}}, nil },
		Write:  c.writeInvokers,
		Calls: func(in action.Input, from, _ invokers) []string {
			var calls []string
			for _, s := range from.Statements {
				calls = append(calls, "lambda:RemovePermission "+in.Params.String("function")+", "+s.Sid)
			}
			return calls
		},
		Summary: func(in action.Input, from, _ invokers) string {
			return fmt.Sprintf("The policy of function %s loses %d statements", in.Params.String("function"), len(from.Statements))
		},
		// One statement a call.
		Between: func(from, now, to invokers) bool {
			for _, s := range now.Statements {
				if !slices.Contains(from.Statements, s) && !slices.Contains(to.Statements, s) {
					return false
				}
			}
			for _, s := range from.Statements {
				if slices.Contains(to.Statements, s) && !slices.Contains(now.Statements, s) {
					return false
				}
			}
			return true
		},
		Facts: func(ctx context.Context, in action.Input, now invokers, change *action.Change) error {
			f, err := c.function(in)
			if err != nil {
				return err
			}
			for i, s := range now.Statements {
				if i == mostNamed {
					break
				}
				change.Impact = append(change.Impact, fmt.Sprintf("%s can't use it any more (%s, statement %s)", s.Principal, s.Action, s.Sid))
			}
			change.Tags, err = f.tags(ctx, c)
			return err
		},
	})
}

func functionPermissionsSpec() action.Spec {
	return action.Spec{
		Name:    "aws.lambda.remove_public_permissions",
		Summary: "Take public access out of a Lambda function's policy",
		Doc: "Removes the statements that let everybody use the function: principal `*` with no condition that bounds who that is. With " +
			"`scope: foreign` those for other accounts, and for services on their behalf, too, but for the accounts in `keep`. Each version " +
			"and alias has a policy of its own: without `qualifier` it is the function's. Its URL stays; who isn't allowed by another " +
			"statement can't use it.\n\n" +
			"Before it removes anything it makes sure that every statement can be put back: one that AddPermission can't make is " +
			"refused. Undo adds them as they were, the public ones too.",
		Effect: action.Contain,
		Params: append([]action.Param{
			functionNaming().takes(), {Name: "qualifier", Type: action.String, Doc: "version or alias whose policy is meant"},
		}, scopeParams()...),
		Permissions: slices.Concat(
			reads(allFunctions, "lambda:GetFunctionConfiguration", "lambda:GetPolicy", "lambda:ListTags"),
			writes(allFunctions, "lambda:RemovePermission"), undoes(allFunctions, "lambda:AddPermission"),
		),
	}
}

func (c *Cloud) readInvokers(ctx context.Context, in action.Input) (invokers, error) {
	state := invokers{Statements: []invoker{}}
	f, err := c.function(in)
	if err != nil {
		return state, err
	}
	who, err := audienceOf(in, f.at.Account)
	if err != nil {
		return state, err
	}
	_, err = f.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: f.name, Qualifier: f.qualifier})
	if err != nil {
		return state, fmt.Errorf("read function %s: %w", *f.name, classify(err))
	}
	got, err := f.api.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: f.name, Qualifier: f.qualifier})
	if gone(err) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("read policy of function %s: %w", *f.name, classify(err))
	}
	state.Statements, err = who.invokers(aws.ToString(got.Policy))
	return state, err
}

// invokers gives the statements of a function's policy that admit those whom a step shuts out. One that can't
// be put back is an error.
func (a audience) invokers(policy string) ([]invoker, error) {
	var document struct{ Statement []json.RawMessage }
	if err := json.Unmarshal([]byte(policy), &document); err != nil {
		return nil, fault.New(fault.Invalid, "the function's policy can't be read: %w", err)
	}
	found := []invoker{}
	for _, raw := range document.Statement {
		var read policyStatement
		if err := json.Unmarshal(raw, &read); err != nil {
			return nil, fault.New(fault.Invalid, "a statement of the function's policy can't be read: %w", err)
		}
		admits, err := a.admits(read)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err)
		}
		if !admits {
			continue
		}
		one, err := invokerOf(raw, read)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b invoker) int { return strings.Compare(a.Sid, b.Sid) })
	return found, nil
}

// invokerOf puts a statement into the words of AddPermission.
func invokerOf(raw json.RawMessage, read policyStatement) (invoker, error) {
	var more struct{ Action oneOrMore }
	if err := json.Unmarshal(raw, &more); err != nil {
		return invoker{}, fault.New(fault.Invalid, "statement %q of the function's policy can't be read: %w", shorten(read.Sid), err)
	}
	named, services, err := read.principals()
	if err != nil {
		return invoker{}, fault.Wrap(fault.Invalid, err)
	}
	principals := slices.Concat(named, services)
	if len(principals) != 1 || len(more.Action) != 1 || read.Sid == "" || len(read.NotPrincipal) > 0 {
		return invoker{}, notBack(read.Sid)
	}
	one := invoker{Sid: read.Sid, Action: more.Action[0], Principal: principals[0]}
	for operator, keys := range read.Condition {
		for key, values := range keys {
			if len(values) != 1 || !one.condition(operator, strings.ToLower(key), values[0]) {
				return invoker{}, notBack(read.Sid)
			}
		}
	}
	return one, nil
}

func notBack(sid string) error {
	return fault.WithHint(fault.New(fault.Invalid, "statement %q can't be put back as it is once it is removed", shorten(sid)),
		"remove it by hand, or freeze the function by aws.lambda.freeze_function")
}

// condition takes in a condition, if it is one that AddPermission makes.
func (i *invoker) condition(operator, key, value string) bool {
	switch operator + " " + key {
	case "ArnLike aws:sourcearn":
		i.SourceARN = value
	case "StringEquals aws:sourceaccount":
		i.Account = value
	case "StringEquals lambda:eventsourcetoken":
		i.Token = value
	case "StringEquals aws:principalorgid":
		i.OrgID = value
	case "StringEquals lambda:functionurlauthtype":
		i.URLAuthType = value
	case "Bool lambda:invokedviafunctionurl":
		i.ViaURL = value == "true"
		return i.ViaURL
	default:
		return false
	}
	return true
}

func (c *Cloud) writeInvokers(ctx context.Context, in action.Input, from, to invokers) (invokers, error) {
	f, err := c.function(in)
	if err != nil {
		return invokers{}, err
	}
	for _, s := range from.Statements {
		if slices.Contains(to.Statements, s) {
			continue
		}
		_, err := f.api.RemovePermission(ctx, &lambda.RemovePermissionInput{
			FunctionName: f.name, Qualifier: f.qualifier, StatementId: aws.String(s.Sid),
		})
		if err != nil && !gone(err) {
			return invokers{}, fmt.Errorf("remove statement %s of function %s: %w", s.Sid, *f.name, classify(err))
		}
	}
	for _, s := range to.Statements {
		if slices.Contains(from.Statements, s) {
			continue
		}
		if _, err := f.api.AddPermission(ctx, s.permission(f)); err != nil {
			return invokers{}, fmt.Errorf("add statement %s of function %s: %w", s.Sid, *f.name, classify(err))
		}
	}
	return to, nil
}

// permission is the call that makes a statement.
func (i *invoker) permission(f function) *lambda.AddPermissionInput {
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return aws.String(text)
	}
	add := &lambda.AddPermissionInput{
		FunctionName: f.name, Qualifier: f.qualifier, StatementId: aws.String(i.Sid), Action: aws.String(i.Action),
		Principal: aws.String(i.Principal), SourceArn: optional(i.SourceARN), SourceAccount: optional(i.Account),
		EventSourceToken: optional(i.Token), PrincipalOrgID: optional(i.OrgID), FunctionUrlAuthType: types.FunctionUrlAuthType(i.URLAuthType),
	}
	if i.ViaURL {
		add.InvokedViaFunctionUrl = aws.Bool(true)
	}
	return add
}
