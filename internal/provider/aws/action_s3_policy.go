package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// bucketPolicy makes an action that changes the policy of a bucket. Want gets the document as it is, one without
// statements where there is none, and gives the one that is wanted.
func bucketPolicy(
	c *Cloud, about action.Spec, want func(in action.Input, now policydoc.Document) (policydoc.Document, error),
	summary func(in action.Input, changes bool) string, facts func(in action.Input, now policydoc.Document, plan *action.Change) error,
) *among[resourcePolicy] {
	a := &among[resourcePolicy]{placed: placed[resourcePolicy]{cloud: c}, census: newCensus(c.countBuckets)}
	a.Setting = action.Setting[resourcePolicy]{
		About: about, Target: c.bucketTarget, Read: c.readBucketPolicy, Write: c.writeBucketPolicy, Meaning: meantPolicy,
		Want: func(in action.Input, now resourcePolicy) (resourcePolicy, error) {
			document, err := now.parsed()
			if err != nil {
				return now, err
			}
			wanted, err := want(in, document)
			switch {
			case err != nil || policydoc.Same(wanted.Text(), document.Text()):
				return now, err
			case len(wanted.Bury().Statements()) == 0:
				return resourcePolicy{}, nil
			}
			return resourcePolicy{Document: wanted.Text()}, nil
		},
		Calls: func(in action.Input, _, to resourcePolicy) []string {
			if len(to.Document) == 0 {
				return []string{"s3:DeleteBucketPolicy " + in.Params.String("bucket")}
			}
			return []string{"s3:PutBucketPolicy " + in.Params.String("bucket")}
		},
		Summary: func(in action.Input, from, to resourcePolicy) string {
			return summary(in, string(from.Document) != string(to.Document))
		},
		Facts: func(ctx context.Context, in action.Input, now resourcePolicy, plan *action.Change) error {
			at, err := c.bucketAt(ctx, in)
			if err != nil {
				return err
			}
			if plan.Tags, err = at.tags(ctx); err != nil {
				return err
			}
			document, err := now.parsed()
			if err != nil {
				return err
			}
			return facts(in, document, plan)
		},
	}
	return a
}

// parsed reads the document, one without statements where there is none.
func (p resourcePolicy) parsed() (policydoc.Document, error) {
	if len(p.Document) == 0 {
		return policydoc.New(), nil
	}
	return policydoc.Parse(p.Document)
}

// onBucketPolicy are the permissions that the actions on policies of buckets need.
func onBucketPolicy() []action.Permission {
	return slices.Concat(
		permit(action.PlanPhase, allBuckets, nil, "s3:ListBucket", "s3:GetBucketPolicy", "s3:GetBucketTagging"),
		permit(action.PlanPhase, "*", nil, "s3:ListAllMyBuckets"),
		permit(action.ApplyPhase, allBuckets, nil, "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
		permit(action.UndoPhase, allBuckets, nil, "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"),
	)
}

func (c *Cloud) readBucketPolicy(ctx context.Context, in action.Input) (resourcePolicy, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	got, err := at.api.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: at.name, ExpectedBucketOwner: at.owner})
	if coded(err, "NoSuchBucketPolicy") {
		return resourcePolicy{}, nil
	}
	if err != nil {
		return resourcePolicy{}, fmt.Errorf("read policy of bucket %s: %w", *at.name, classify(err))
	}
	text := json.RawMessage(aws.ToString(got.Policy))
	if !json.Valid(text) {
		return resourcePolicy{}, fault.New(fault.Internal, "policy of bucket %s: S3 returned no JSON", *at.name)
	}
	return resourcePolicy{Document: text}, nil
}

func (c *Cloud) writeBucketPolicy(ctx context.Context, in action.Input, _, to resourcePolicy) (resourcePolicy, error) {
	at, err := c.bucketAt(ctx, in)
	if err != nil {
		return resourcePolicy{}, err
	}
	if len(to.Document) == 0 {
		if _, err := at.api.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: at.name, ExpectedBucketOwner: at.owner}); err != nil {
			return resourcePolicy{}, fmt.Errorf("delete policy of bucket %s: %w", *at.name, classify(err))
		}
		return to, nil
	}
	text, err := writable(to.Document)
	if err != nil {
		return resourcePolicy{}, err
	}
	_, err = at.api.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: at.name, ExpectedBucketOwner: at.owner, Policy: aws.String(text)})
	if err != nil {
		return resourcePolicy{}, fmt.Errorf("put policy on bucket %s: %w", *at.name, classify(err))
	}
	return to, nil
}

// bucketARNs are the bucket and its objects, for a statement about all of it.
func (c *Cloud) bucketARNs(in action.Input) []string {
	whole := "arn:" + c.self.Partition + ":s3:::" + in.Params.String("bucket")
	return []string{whole, whole + "/*"}
}

// denying makes a statement that denies everything in a bucket to everybody under conditions.
func (c *Cloud) denying(in action.Input, sid string, conditions map[string]map[string][]string) (policydoc.Statement, error) {
	text, err := json.Marshal(struct {
		Sid       string
		Effect    string
		Principal string
		Action    string
		Resource  []string
		Condition map[string]map[string][]string
	}{sid, "Deny", "*", "s3:*", c.bucketARNs(in), conditions})
	if err != nil {
		return policydoc.Statement{}, fmt.Errorf("encode statement %s: %w", sid, err)
	}
	return policydoc.ParseStatement(text)
}

// suspect is a principal that a bucket's policy is to deny.
type suspect struct {
	entity   entity.Entity
	operator string // the condition by which it is known
	key      string
	values   []string
}

var principalName = shaped(`^(user|role)/([\w+=,.@/-]*/)?([\w+=,.@-]{1,64})$`)

// suspect reads the principal of the parameters: the ARN of a user, a role or a session, of which the role is
// meant, or another account. It refuses whom a bucket must not deny.
func (c *Cloud) suspect(in action.Input) (suspect, error) {
	text := in.Params.String("principal")
	home := c.here(in.Place).Account
	if IsAccount(text) {
		text = "arn:" + c.self.Partition + ":iam::" + text + ":root"
	}
	parsed, err := arn.Parse(text)
	if err != nil || !IsAccount(parsed.AccountID) || parsed.Service != "iam" && parsed.Service != "sts" {
		return suspect{}, fault.New(fault.Invalid, "principal: %q is neither an account nor the ARN of a user, a role or a session", shorten(text))
	}
	if parsed.Resource == "root" {
		if parsed.AccountID == home || parsed.AccountID == c.self.Account {
			return suspect{}, fault.New(fault.Denied, "principal: account %s is the bucket's or Riposte's own: nobody could put it right", parsed.AccountID)
		}
		e := entity.Entity{Kind: entity.Account, ID: parsed.AccountID, Part: entity.Actor, Provider: "aws", Account: parsed.AccountID, ARN: text}
		return suspect{e, "StringEquals", "aws:PrincipalAccount", []string{parsed.AccountID}}, nil
	}
	if role, ok := cutSession(parsed.Resource); ok && parsed.Service == "sts" { // the path of its role isn't known
		parsed.Service, parsed.Resource = "iam", "role/"+role
	}
	form := principalName.FindStringSubmatch(parsed.Resource)
	if form == nil || parsed.Service != "iam" {
		return suspect{}, fault.New(fault.Invalid, "principal: %q is neither an account nor the ARN of a user, a role or a session", shorten(text))
	}
	kind, name := entity.Kind(form[1]), form[3]
	e := entity.Entity{Kind: kind, ID: name, Part: entity.Actor, Provider: "aws", Account: parsed.AccountID, ARN: parsed.String()}
	if slices.ContainsFunc(c.Own(), func(pattern string) bool { return guardrail.Glob(pattern, e.ARN) || guardrail.Glob(pattern, text) }) {
		return suspect{}, fault.New(fault.Denied, "principal: %s is Riposte's own: it doesn't shut itself out", e.ARN)
	}
	known := []string{e.ARN}
	if form[2] == "" { // the ARN of a session says no path, and neither may that of a finding
		parsed.Resource = form[1] + "/*/" + name
		known = append(known, parsed.String())
	}
	return suspect{e, "ArnLike", "aws:PrincipalArn", known}, c.spare(kind, name, parsed.AccountID)
}

// denyPrincipal makes aws.s3.deny_principal.
func denyPrincipal(c *Cloud) *among[resourcePolicy] {
	return bucketPolicy(c, denyPrincipalSpec(),
		func(in action.Input, now policydoc.Document) (policydoc.Document, error) {
			who, err := c.suspect(in)
			if err != nil {
				return now, err
			}
			denial, err := c.denying(in, markedSid("RiposteDeny", in.Incident), map[string]map[string][]string{who.operator: {who.key: who.values}})
			return now.Put(denial), err
		},
		func(in action.Input, _ bool) string {
			return fmt.Sprintf("%s is denied everything in bucket %s", shorten(in.Params.String("principal")), in.Params.String("bucket"))
		},
		func(in action.Input, now policydoc.Document, plan *action.Change) error {
			who, err := c.suspect(in)
			if err != nil {
				return err
			}
			plan.Touches = []entity.Entity{who.entity}
			plan.Impact = []string{
				"what the principal does with other buckets and services goes on",
				fmt.Sprintf("the policy has %d statements now; they stay as they are", len(now.Statements())),
			}
			if now.Has(markedSid("RiposteDeny", in.Incident)) && !plan.Noop {
				plan.Impact = append(plan.Impact, "a statement of this incident's is replaced; undo puts it back")
			}
			return nil
		},
	)
}

func denyPrincipalSpec() action.Spec {
	return action.Spec{
		Name:    "aws.s3.deny_principal",
		Summary: "Deny a principal everything in an S3 bucket",
		Doc: "Adds one statement to the bucket's policy, named after the incident, that denies the principal every action on the bucket " +
			"and its objects; a policy is made where there was none. An explicit denial wins over what the principal's own " +
			"policies and other statements allow. The other statements stay as they are written.\n\n" +
			"The principal is another account, a user, a role, or a session, for which its role is denied with all of its " +
			"sessions. It is known by `aws:PrincipalArn` in a condition and so need not exist. Where its ARN has no path, a " +
			"principal of that name in any path is meant. Nobody else is denied.\n\n" +
			"The account of the bucket as a whole, its root user, Riposte's own principals and those named for emergencies " +
			"(break-glass) are refused: nobody could put the policy right again. The bucket must belong to the account that the " +
			"finding names.\n\nUndo puts the saved policy back, or deletes it where there was none.",
		Effect: action.Contain,
		Params: []action.Param{bucketParam(), {
			Name: "principal", Type: action.String, Required: true, Entity: entity.Principal,
			Doc: "ARN of the user, role or session, or the id of another account",
		}},
		Permissions: onBucketPolicy(),
	}
}

// removePublicStatements makes aws.s3.remove_public_statements.
func removePublicStatements(c *Cloud) *among[resourcePolicy] {
	who := func(in action.Input) (strangers, error) {
		w, err := c.strangers(in)
		w.public = in.Params.String("scope") == "public"
		return w, err
	}
	return bucketPolicy(c, removePublicSpec(),
		func(in action.Input, now policydoc.Document) (policydoc.Document, error) {
			w, err := who(in)
			left, _ := now.Strip(w.unwanted)
			return left, err
		},
		func(in action.Input, changes bool) string {
			if !changes {
				return fmt.Sprintf("The policy of bucket %s lets in nobody who is meant", in.Params.String("bucket"))
			}
			return fmt.Sprintf("The policy of bucket %s lets in strangers (scope %s) no more", in.Params.String("bucket"), in.Params.String("scope"))
		},
		func(in action.Input, now policydoc.Document, plan *action.Change) error {
			w, err := who(in)
			if err != nil {
				return err
			}
			_, gone := now.Strip(w.unwanted)
			plan.Impact = append(w.evicted(now, gone), "access that ACLs and access points give stays")
			return nil
		},
	)
}

func removePublicSpec() action.Spec {
	return action.Spec{
		Name:    "aws.s3.remove_public_statements",
		Summary: "Remove strangers from an S3 bucket's policy",
		Doc: "Takes everybody (`*`) out of the statements of the bucket's policy that allow something, and with the scope `foreign` the " +
			"principals of other accounts as well. A statement that allows nobody any more goes away whole; the others stay as " +
			"they are written. Everybody within a condition on the organization, an account, a network or the like isn't public " +
			"and stays, unless the condition names another account and the scope is `foreign`; the plan names what stays. " +
			"Statements that deny are never touched, nor are services.\n\n" +
			"ACLs and access points may let strangers in too: `aws.s3.make_acl_private`, `aws.s3.block_public_access`. The " +
			"bucket must belong to the account that the finding names.\n\n" +
			"Undo puts the saved policy back, without principals that were deleted since, for AWS takes no document that names one.",
		Effect: action.Contain,
		Params: []action.Param{bucketParam(), {
			Name: "scope", Type: action.String, Default: "public", Enum: []string{"public", "foreign"},
			Doc: "public takes out everybody; foreign takes out other accounts too",
		}, exceptParam()},
		Permissions: onBucketPolicy(),
	}
}

// requireTLS makes aws.s3.require_tls.
func requireTLS(c *Cloud) *among[resourcePolicy] {
	insecure := map[string]map[string][]string{"Bool": {"aws:SecureTransport": {"false"}}}
	return bucketPolicy(c, action.Spec{
		Name:    "aws.s3.require_tls",
		Summary: "Deny requests to an S3 bucket that don't use TLS",
		Doc: "Adds one statement to the bucket's policy, named after the incident, that denies every request without TLS. Where a " +
			"statement does that for everybody already, nothing is changed. Clients that speak plain HTTP, such as visitors of " +
			"a website endpoint, stop working; all others notice nothing.\n\n" +
			"The bucket must belong to the account that the finding names. Undo puts the saved policy back, or deletes it where " +
			"there was none.",
		Effect: action.Contain, Params: []action.Param{bucketParam()}, Permissions: onBucketPolicy(),
	},
		func(in action.Input, now policydoc.Document) (policydoc.Document, error) {
			if slices.ContainsFunc(now.Statements(), func(s policydoc.Statement) bool { return c.deniesPlain(in, s) }) {
				return now, nil
			}
			denial, err := c.denying(in, markedSid("RiposteTLS", in.Incident), insecure)
			return now.Put(denial), err
		},
		func(in action.Input, _ bool) string {
			return fmt.Sprintf("Bucket %s takes requests with TLS alone", in.Params.String("bucket"))
		},
		func(_ action.Input, _ policydoc.Document, plan *action.Change) error {
			plan.Impact = []string{"clients that speak plain HTTP, such as browsers at a website endpoint, are denied"}
			return nil
		},
	)
}

// deniesPlain reports whether a statement denies whatever comes without TLS, to everybody and in all of a bucket.
func (c *Cloud) deniesPlain(in action.Input, s policydoc.Statement) bool {
	if s.Effect != policydoc.Deny || len(s.Conditions) != 1 || !slices.ContainsFunc(s.Principals, func(p policydoc.Principal) bool {
		return p.Everybody() && !p.Not
	}) {
		return false
	}
	only := s.Conditions[0]
	covers := func(resource string) bool {
		return slices.Contains(s.Resources, resource) || slices.Contains(s.Resources, "*")
	}
	return only.Operator == "Bool" && only.Key == "aws:securetransport" && slices.Equal(only.Values, []string{"false"}) &&
		slices.ContainsFunc(s.Actions, func(a string) bool { return a == "*" || strings.EqualFold(a, "s3:*") }) &&
		!slices.ContainsFunc(c.bucketARNs(in), func(arn string) bool { return !covers(arn) })
}
