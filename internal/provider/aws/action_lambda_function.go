package aws

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	aliasedFunctionForm = shaped(`^[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]{1,128})?$`)
	aliasForm           = shaped(`^[A-Za-z0-9_$-]{1,128}$`)
)

const allFunctions = "arn:{partition}:lambda:{region}:{account}:function:*"

func functionNaming() naming {
	return naming{
		what: "Lambda function", param: "function", kind: entity.Function, service: "lambda", prefix: "function:", form: aliasedFunctionForm,
	}
}

// function is a Lambda function of the step's account, with the version or alias that the step names.
type function struct {
	api       *lambda.Client
	name      *string
	qualifier *string // nil for the function itself
	at        action.Place
}

// function finds what a step names. The version or alias stands in a parameter, or at the end of the name.
func (c *Cloud) function(in action.Input) (function, error) {
	text, at, err := functionNaming().find(c, in)
	if err != nil {
		return function{}, err
	}
	name, qualifier, _ := strings.Cut(text, ":")
	if given := in.Params.String("qualifier"); given != "" {
		if !aliasForm.MatchString(given) {
			return function{}, fault.New(fault.Invalid, "qualifier: %q is neither a version nor an alias", shorten(given))
		}
		qualifier = given
	}
	found := function{name: aws.String(name), at: at}
	if qualifier != "" {
		found.qualifier = aws.String(qualifier)
	}
	found.api, err = service(c, at, lambda.NewFromConfig)
	return found, err
}

// functionTarget is the function, without its version or alias.
func functionTarget(c *Cloud) func(in action.Input) entity.Entity {
	return func(in action.Input) entity.Entity {
		e := functionNaming().target(c)(in)
		name, _, _ := strings.Cut(e.ID, ":")
		if e.ARN != "" {
			e.ARN = functionNaming().arn(c, action.Place{Account: e.Account, Region: e.Region}, name)
		}
		e.ID = name
		return e
	}
}

func (f function) arn(c *Cloud) string { return functionNaming().arn(c, f.at, *f.name) }

func (f function) tags(ctx context.Context, c *Cloud) (map[string]string, error) {
	got, err := f.api.ListTags(ctx, &lambda.ListTagsInput{Resource: aws.String(f.arn(c))})
	if err != nil {
		return nil, fmt.Errorf("read tags of function %s: %w", *f.name, classify(err))
	}
	if len(got.Tags) == 0 {
		return nil, nil
	}
	return got.Tags, nil
}

func (c *Cloud) countFunctions(ctx context.Context, at action.Place) (int, error) {
	api, err := service(c, at, lambda.NewFromConfig)
	if err != nil {
		return 0, err
	}
	count := 0
	for pages := lambda.NewListFunctionsPaginator(api, &lambda.ListFunctionsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list functions: %w", classify(err))
		}
		count += len(page.Functions)
	}
	return count, nil
}

// reserved is how many instances of a function may run at once. Nil: as many as the account has left.
type reserved struct {
	Concurrency *int32 `json:"concurrency"`

	timeout int32 // seconds
	memory  int32
}

// freezeFunction makes aws.lambda.freeze_function.
func freezeFunction(c *Cloud) *among[reserved] {
	return &among[reserved]{*setting(c, action.Setting[reserved]{
		About:  freezeSpec(),
		Target: functionTarget(c),
		Read:   c.readReserved,
		Want: func(action.Input, reserved) (reserved, error) {
			return reserved{Concurrency: aws.Int32(0)}, nil
		},
		Write: c.writeReserved,
		Calls: func(in action.Input, _, _ reserved) []string {
			return []string{"lambda:PutFunctionConcurrency " + in.Params.String("function") + ", 0"}
		},
		Summary: func(in action.Input, from, _ reserved) string {
			return fmt.Sprintf("Function %s starts no more (%s before)", in.Params.String("function"), from)
		},
		Facts: c.freezeFacts,
	}), newCensus(c.countFunctions)}
}

// String says it in words.
func (r reserved) String() string {
	if r.Concurrency == nil {
		return "no concurrency was reserved"
	}
	return "reserved concurrency was " + strconv.Itoa(int(*r.Concurrency))
}

func freezeSpec() action.Spec {
	return action.Spec{
		Name:    "aws.lambda.freeze_function",
		Summary: "Let a Lambda function start no more",
		Doc: "Reserves a concurrency of zero for the function, with all its versions and aliases: every new call is throttled. " +
			"Calls that run go on, up to the function's timeout. Asynchronous events are tried again by AWS for up to six hours and " +
			"then dropped, or sent where the function's failures go; queues and streams keep what they have until it expires. Copies of it " +
			"at CloudFront's edges go on. Whatever role the function has, its credentials stay valid until they expire: pair it with " +
			"`aws.iam.revoke_role_sessions`.\n\nUndo reserves what was reserved, or nothing where nothing was.",
		Effect: action.Contain, Params: []action.Param{functionNaming().takes()},
		Permissions: slices.Concat(
			reads(allFunctions, "lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency", "lambda:ListTags"),
			reads("*", "lambda:ListEventSourceMappings", "lambda:ListFunctions"),
			writes(allFunctions, "lambda:PutFunctionConcurrency"),
			undoes(allFunctions, "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"),
		),
	}
}

func (c *Cloud) readReserved(ctx context.Context, in action.Input) (reserved, error) {
	f, err := c.function(in)
	if err != nil {
		return reserved{}, err
	}
	about, err := f.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: f.name})
	if err != nil {
		return reserved{}, fmt.Errorf("read function %s: %w", *f.name, classify(err))
	}
	got, err := f.api.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: f.name})
	if err != nil {
		return reserved{}, fmt.Errorf("read concurrency of function %s: %w", *f.name, classify(err))
	}
	return reserved{
		Concurrency: got.ReservedConcurrentExecutions, timeout: aws.ToInt32(about.Timeout), memory: aws.ToInt32(about.MemorySize),
	}, nil
}

func (c *Cloud) writeReserved(ctx context.Context, in action.Input, _, to reserved) (reserved, error) {
	f, err := c.function(in)
	if err != nil {
		return reserved{}, err
	}
	if to.Concurrency == nil {
		_, err = f.api.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: f.name})
	} else {
		_, err = f.api.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
			FunctionName: f.name, ReservedConcurrentExecutions: to.Concurrency,
		})
	}
	if err != nil {
		return reserved{}, fmt.Errorf("set concurrency of function %s: %w", *f.name, classify(err))
	}
	return to, nil
}

func (c *Cloud) freezeFacts(ctx context.Context, in action.Input, now reserved, change *action.Change) error {
	f, err := c.function(in)
	if err != nil {
		return err
	}
	if change.Tags, err = f.tags(ctx, c); err != nil {
		return err
	}
	change.Impact = []string{
		fmt.Sprintf("calls that run now go on for up to %s", time.Duration(now.timeout)*time.Second),
		"every other call fails as throttled: those of APIs, schedules and people too",
	}
	sources, err := f.api.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{FunctionName: f.name})
	if err != nil {
		return fmt.Errorf("list what feeds function %s: %w", *f.name, classify(err))
	}
	for i, source := range sources.EventSourceMappings {
		if i == mostNamed {
			change.Impact = append(change.Impact, "and more queues and streams")
			break
		}
		change.Impact = append(change.Impact, "what comes from "+aws.ToString(source.EventSourceArn)+" waits there, until it expires")
	}
	return nil
}

// functionAddress is the URL of a function.
type functionAddress struct {
	URL  string `json:"url,omitempty"`
	Auth string `json:"auth,omitempty"` // NONE: everybody may call it
}

// deleteFunctionURL makes aws.lambda.delete_function_url.
func deleteFunctionURL(c *Cloud) *final[functionAddress] {
	return finally(c, action.Setting[functionAddress]{
		About:  deleteURLSpec(),
		Target: functionTarget(c),
		Read:   c.readFunctionURL,
		Want:   func(action.Input, functionAddress) (functionAddress, error) { return functionAddress{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to functionAddress) (functionAddress, error) {
			f, err := c.function(in)
			if err != nil {
				return functionAddress{}, err
			}
			_, err = f.api.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: f.name, Qualifier: f.qualifier})
			if err != nil && !gone(err) {
				return functionAddress{}, fmt.Errorf("delete URL of function %s: %w", *f.name, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ functionAddress) []string {
			return []string{"lambda:DeleteFunctionUrlConfig " + in.Params.String("function")}
		},
		Summary: func(in action.Input, from, _ functionAddress) string {
			return fmt.Sprintf("Function %s loses its URL %s for good", in.Params.String("function"), from.URL)
		},
		Facts: func(ctx context.Context, in action.Input, now functionAddress, change *action.Change) error {
			f, err := c.function(in)
			if err != nil {
				return err
			}
			change.Outputs = map[string]any{"url": now.URL}
			change.Impact = []string{
				"a URL that is made later has another name: whoever calls this one must be told",
				flip(now.Auth == "NONE", "everybody may call it now", "only who signs as AWS wants may call it now"),
			}
			change.Tags, err = f.tags(ctx, c)
			return err
		},
	})
}

func deleteURLSpec() action.Spec {
	return action.Spec{
		Name:    "aws.lambda.delete_function_url",
		Summary: "Delete a Lambda function's URL",
		Doc: "Deletes the HTTPS address of the function, or of the alias that the step names. Other ways to call the function stay. The " +
			"statements of its policy that let people use the URL stay, too, and do nothing without one.\n\n" +
			"**There is no undo**: a URL that is made later has another name.",
		Effect: action.Destroy,
		Params: []action.Param{
			functionNaming().takes(), {Name: "qualifier", Type: action.String, Doc: "alias whose URL is meant, if it is not the function's own"},
		},
		Outputs: []action.Output{{Name: "url", Type: action.String, Doc: "the URL that there was"}},
		Permissions: slices.Concat(
			reads(allFunctions, "lambda:GetFunctionConfiguration", "lambda:GetFunctionUrlConfig", "lambda:ListTags"),
			writes(allFunctions, "lambda:DeleteFunctionUrlConfig"),
		),
	}
}

func (c *Cloud) readFunctionURL(ctx context.Context, in action.Input) (functionAddress, error) {
	f, err := c.function(in)
	if err != nil {
		return functionAddress{}, err
	}
	if _, err = f.api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: f.name}); err != nil {
		return functionAddress{}, fmt.Errorf("read function %s: %w", *f.name, classify(err))
	}
	got, err := f.api.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: f.name, Qualifier: f.qualifier})
	if gone(err) {
		return functionAddress{}, nil
	}
	if err != nil {
		return functionAddress{}, fmt.Errorf("read URL of function %s: %w", *f.name, classify(err))
	}
	return functionAddress{URL: aws.ToString(got.FunctionUrl), Auth: string(got.AuthType)}, nil
}
