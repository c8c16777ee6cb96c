package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

const allSecrets = "arn:{partition}:secretsmanager:{region}:{account}:secret:*" //nolint:gosec // a pattern of names, not a secret

var secretName = shaped(`^[\w/+=.@-]{1,512}$`)

func secretParam() action.Param {
	return action.Param{Name: "secret", Type: action.String, Required: true, Entity: entity.Secret, Doc: "name or ARN of the secret"}
}

// secretARN reads the ARN of a secret.
func secretARN(text string) (arn.ARN, bool) {
	parsed, err := arn.Parse(text)
	if err != nil || parsed.Service != "secretsmanager" {
		return arn.ARN{}, false
	}
	name, ok := strings.CutPrefix(parsed.Resource, "secret:")
	return parsed, ok && secretName.MatchString(name)
}

func (c *Cloud) secretTarget(in action.Input) entity.Entity {
	at := c.here(in.Place)
	e := entity.Entity{
		Kind: entity.Secret, ID: in.Params.String("secret"), Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
	}
	if parsed, ok := secretARN(e.ID); ok {
		e.ARN, e.Region = e.ID, parsed.Region
	}
	return e
}

// storedSecret is a secret's description, never its value, with a client in its region.
type storedSecret struct {
	api *secretsmanager.Client
	id  *string
	*secretsmanager.DescribeSecretOutput
}

// secret reads what is known of a secret. One of another account is refused.
func (c *Cloud) secret(ctx context.Context, in action.Input) (storedSecret, error) {
	text, at := in.Params.String("secret"), c.here(in.Place)
	parsed, isARN := secretARN(text)
	switch {
	case !isARN && !secretName.MatchString(text):
		return storedSecret{}, fault.New(fault.Invalid, "%q is neither the name nor the ARN of a secret", shorten(text))
	case isARN && parsed.AccountID != at.Account:
		return storedSecret{}, fault.New(fault.Invalid, "secret %s is not of account %s", text, at.Account)
	case isARN:
		at.Region = parsed.Region
	}
	api, err := client(c, at, func(made aws.Config) *secretsmanager.Client { return secretsmanager.NewFromConfig(made) })
	if err != nil {
		return storedSecret{}, err
	}
	got, err := api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(text)})
	if err != nil {
		return storedSecret{}, fmt.Errorf("read what is known of secret %s: %w", text, classify(err))
	}
	if got.DeletedDate != nil {
		return storedSecret{}, fault.New(fault.Invalid, "secret %s is about to be deleted", text)
	}
	return storedSecret{api, aws.String(text), got}, nil
}

// describe puts what people should know of a secret into a plan.
func (s storedSecret) describe(plan *action.Change) {
	plan.Target.ARN = aws.ToString(s.ARN)
	for _, tag := range s.Tags {
		if plan.Tags == nil {
			plan.Tags = map[string]string{}
		}
		plan.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	if read := s.LastAccessedDate; read != nil {
		plan.Impact = append(plan.Impact, "the secret was last read on "+read.UTC().Format(time.DateOnly))
	} else {
		plan.Impact = append(plan.Impact, "Secrets Manager knows of nobody who read the secret")
	}
}

// rotated is which version of a secret is the current one.
type rotated struct {
	Current string `json:"current"`
	Pending string `json:"pending,omitempty"` // the version that a rotation is making
}

// rotate is aws.secretsmanager.rotate_secret.
type rotate struct {
	final[rotated]
}

func rotateSecret(c *Cloud) *rotate {
	return &rotate{final[rotated]{placed[rotated]{cloud: c, Setting: action.Setting[rotated]{
		About:  rotateSpec(),
		Target: c.secretTarget,
		Read: func(ctx context.Context, in action.Input) (rotated, error) {
			secret, err := c.secret(ctx, in)
			if err != nil {
				return rotated{}, err
			}
			return secret.versions(), nil
		},
		Want: func(in action.Input, _ rotated) (rotated, error) {
			return rotated{Current: rotationToken(in.Token)}, nil
		},
		Holds: func(now, wanted rotated) bool { return now.Current == wanted.Current },
		Write: c.writeRotation,
		Calls: func(in action.Input, _, _ rotated) []string {
			return []string{"secretsmanager:RotateSecret " + in.Params.String("secret")}
		},
		Summary: func(in action.Input, _, _ rotated) string {
			return fmt.Sprintf("Secret %s gets a new value by its rotation function", in.Params.String("secret"))
		},
		Facts: c.rotationFacts,
		Between: func(_, now, to rotated) bool { // the rotation that was begun goes on
			return now.Pending == to.Current
		},
	}}}}
}

func rotateSpec() action.Spec {
	return action.Spec{
		Name:    "aws.secretsmanager.rotate_secret",
		Summary: "Give a secret a new value by its rotation function, now",
		Doc: "Starts the rotation that is configured for the secret and waits until its version is the current one. Who reads the secret " +
			"each time gets the new value; who keeps the old one fails once the rotation function has made it invalid. A secret " +
			"without rotation is refused: Riposte never makes up or sees a value.\n\n" +
			"**It can't be undone.** The former value stays as `AWSPREVIOUS` until the next rotation; where the rotation function " +
			"makes a new password of the same user, the former one works no more. A rotation is begun once for a step, however " +
			"often it is tried. The secret must belong to the account that the finding names.",
		Effect: action.Destroy, Within: time.Hour, Settle: time.Minute,
		Params: []action.Param{secretParam()},
		Permissions: slices.Concat(
			permit(action.PlanPhase, allSecrets, nil, "secretsmanager:DescribeSecret"),
			permit(action.ApplyPhase, allSecrets, nil, "secretsmanager:RotateSecret"),
		),
	}
}

// versions tells the secret's current version, and the one that a rotation is making.
func (s storedSecret) versions() rotated {
	var found rotated
	for version, stages := range s.VersionIdsToStages {
		current := slices.Contains(stages, "AWSCURRENT")
		if current {
			found.Current = version
		} else if slices.Contains(stages, "AWSPENDING") {
			found.Pending = version
		}
	}
	return found
}

// rotationToken makes a step's idempotency token one that Secrets Manager takes, which names the version by it:
// 32 to 64 characters.
func rotationToken(token string) string {
	const least, most = 32, 64
	plain := markedSid("", token)
	return strings.Repeat("0", max(0, least-len(plain))) + plain[:min(len(plain), most)]
}

func (c *Cloud) writeRotation(ctx context.Context, in action.Input, from, to rotated) (rotated, error) {
	if from.Pending == to.Current {
		return from, nil // begun already
	}
	secret, err := c.secret(ctx, in)
	if err != nil {
		return rotated{}, err
	}
	_, err = secret.api.RotateSecret(ctx, &secretsmanager.RotateSecretInput{
		SecretId: secret.id, ClientRequestToken: aws.String(to.Current), RotateImmediately: aws.Bool(true),
	})
	if coded(err, "InvalidRequestException") && strings.Contains(err.Error(), "previous rotation") {
		return rotated{}, fault.Wrap(fault.Transient, err) // it is tried again by Secrets Manager, and then ours by us
	}
	if err != nil {
		return rotated{}, fmt.Errorf("rotate secret %s: %w", *secret.id, classify(err))
	}
	return rotated{Current: from.Current, Pending: to.Current}, nil
}

// Await looks whether the version that the rotation makes is the current one.
func (r *rotate) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	switch err := r.Verify(ctx, a).(type) { //nolint:errorlint // Verify gives the type itself
	case nil:
		result := a.Result
		result.Left = a.Change.After
		return result, true, nil
	case *action.NotHeld:
		return a.Result, false, nil
	default:
		return action.Result{}, false, err
	}
}

func (c *Cloud) rotationFacts(ctx context.Context, in action.Input, now rotated, plan *action.Change) error {
	secret, err := c.secret(ctx, in)
	if err != nil {
		return err
	}
	if !aws.ToBool(secret.RotationEnabled) {
		return fault.WithHint(fault.New(fault.Invalid, "secret %s has no rotation: nothing could make a new value", *secret.id),
			"configure a rotation function, or change the value where it is made")
	}
	secret.describe(plan)
	plan.Impact = append(plan.Impact, "the former value can't be put back; it stays as AWSPREVIOUS until the next rotation")
	if last := secret.LastRotatedDate; last != nil {
		plan.Impact = append(plan.Impact, "it was last rotated "+moment(last))
	} else {
		plan.Impact = append(plan.Impact, "it was never rotated: whether its function works isn't known")
	}
	if now.Pending != "" && now.Pending != rotationToken(in.Token) {
		plan.Impact = append(plan.Impact, "another rotation of it isn't complete")
	}
	return nil
}

// deleteSecretPolicy makes aws.secretsmanager.delete_resource_policy.
func deleteSecretPolicy(c *Cloud) *placed[resourcePolicy] {
	return &placed[resourcePolicy]{cloud: c, Setting: action.Setting[resourcePolicy]{
		About: action.Spec{
			Name:    "aws.secretsmanager.delete_resource_policy",
			Summary: "Delete the policy of a secret",
			Doc: "Deletes the secret's own policy: principals of other accounts lose access, and so does everybody of the account whom it " +
				"alone let in. Who has access by policies of his own keeps it; **what the policy denied isn't denied any more**, " +
				"and the plan says so where it denies something. The secret's value isn't changed: rotate it as well where somebody " +
				"may have read it. The secret must belong to the account that the finding names.\n\n" +
				"Undo puts the saved policy back, without principals that were deleted since, for AWS takes no document that names one.",
			Effect: action.Contain,
			Params: []action.Param{secretParam()},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allSecrets, nil, "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"),
				permit(action.ApplyPhase, allSecrets, nil, "secretsmanager:DeleteResourcePolicy"),
				permit(action.UndoPhase, allSecrets, nil, "secretsmanager:PutResourcePolicy"),
			),
		},
		Target: c.secretTarget,
		Read:   c.readSecretPolicy,
		Want:   func(action.Input, resourcePolicy) (resourcePolicy, error) { return resourcePolicy{}, nil },
		Write:  c.writeSecretPolicy,
		Calls: func(in action.Input, _, _ resourcePolicy) []string {
			return []string{"secretsmanager:DeleteResourcePolicy " + in.Params.String("secret")}
		},
		Summary: func(in action.Input, _, _ resourcePolicy) string {
			return fmt.Sprintf("Secret %s has no policy of its own", in.Params.String("secret"))
		},
		Facts: func(ctx context.Context, in action.Input, now resourcePolicy, plan *action.Change) error {
			secret, err := c.secret(ctx, in)
			if err != nil {
				return err
			}
			secret.describe(plan)
			document, err := policydoc.Parse(now.Document)
			if err != nil {
				if len(now.Document) > 0 {
					plan.Impact = append(plan.Impact, "what the policy says isn't understood: read it before you say yes")
				}
				return nil
			}
			var allowed []string
			for _, s := range document.Statements() {
				if s.Effect == policydoc.Deny {
					plan.Impact = append(plan.Impact, "the policy denies something ("+namesOf(s)+"): that isn't denied any more")
					continue
				}
				for _, p := range s.Principals {
					allowed = append(allowed, shorten(p.String()))
				}
			}
			if len(allowed) > 0 {
				plan.Impact = append(plan.Impact, "these lose what the policy allows: "+some(allowed))
			}
			return nil
		},
		Meaning: meantPolicy,
	}}
}

func (c *Cloud) readSecretPolicy(ctx context.Context, in action.Input) (resourcePolicy, error) {
	secret, err := c.secret(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	got, err := secret.api.GetResourcePolicy(ctx, &secretsmanager.GetResourcePolicyInput{SecretId: secret.id})
	if err != nil {
		return resourcePolicy{}, fmt.Errorf("read policy of secret %s: %w", *secret.id, classify(err))
	}
	text := json.RawMessage(aws.ToString(got.ResourcePolicy))
	if len(text) > 0 && !json.Valid(text) {
		return resourcePolicy{}, fault.New(fault.Internal, "policy of secret %s: Secrets Manager returned no JSON", *secret.id)
	}
	return resourcePolicy{Document: text}, nil
}

func (c *Cloud) writeSecretPolicy(ctx context.Context, in action.Input, _, to resourcePolicy) (resourcePolicy, error) {
	secret, err := c.secret(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	if len(to.Document) == 0 {
		_, err = secret.api.DeleteResourcePolicy(ctx, &secretsmanager.DeleteResourcePolicyInput{SecretId: secret.id})
	} else {
		var text string
		if text, err = writable(to.Document); err != nil {
			return resourcePolicy{}, err
		}
		_, err = secret.api.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{SecretId: secret.id, ResourcePolicy: aws.String(text)})
	}
	if err != nil {
		return resourcePolicy{}, fmt.Errorf("write policy of secret %s: %w", *secret.id, classify(err))
	}
	return to, nil
}
