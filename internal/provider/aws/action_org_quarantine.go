package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// quarantined is whether the quarantine's service control policy is attached to an account, and what it says.
type quarantined struct {
	Attached bool            `json:"attached"`
	Document json.RawMessage `json:"document,omitempty"`
}

// quarantinePolicy is what the policy is called; a part of the hash of its text follows, so that a policy with
// other exceptions is another policy.
const quarantinePolicy = "riposte-quarantine"

var exceptionForm = shaped(`^arn:[a-z-]+:iam::(\d{12}|\*):(role|user)/[\w+=,.@*/-]*[\w+=,.@-][\w+=,.@*/-]*$`)

// accountQuarantine is aws.organizations.quarantine_account.
type accountQuarantine struct {
	remote[quarantined]
	accounts *census
}

func quarantineAccount(c *Cloud) *accountQuarantine {
	q := &accountQuarantine{accounts: newCensus(func(ctx context.Context, _ action.Place) (int, error) { return c.countAccounts(ctx) })}
	q.cloud = c
	q.Setting = action.Setting[quarantined]{
		About: quarantineSpec(),
		Target: func(in action.Input) entity.Entity {
			account := c.targetAccount(in)
			return entity.Entity{Kind: entity.Account, ID: account, Part: entity.Target, Provider: "aws", Account: account}
		},
		Read: c.readQuarantine,
		Want: func(in action.Input, _ quarantined) (quarantined, error) {
			document, err := c.quarantineDocument(in)
			return quarantined{Attached: true, Document: document}, err
		},
		Write: c.writeQuarantine,
		Calls: func(in action.Input, _, to quarantined) []string {
			name := quarantineName(to.Document)
			return []string{
				"organizations:CreatePolicy " + name + ", where it isn't there yet",
				"organizations:AttachPolicy " + name + " to account " + c.targetAccount(in),
			}
		},
		Summary: func(in action.Input, _, to quarantined) string {
			return fmt.Sprintf("All of account %s is denied by the service control policy %s",
				c.targetAccount(in), quarantineName(to.Document))
		},
		Facts: c.quarantineFacts,
		Meaning: func(q quarantined) quarantined {
			if len(q.Document) > 0 {
				q.Document = policydoc.Meaning(q.Document)
			}
			return q
		},
	}
	return q
}

// Population counts the accounts of the organization.
func (q *accountQuarantine) Population(ctx context.Context, _ action.Place) (int, error) {
	return q.accounts.of(ctx, action.Place{})
}

func quarantineSpec() action.Spec {
	const (
		account  = "arn:{partition}:organizations::{account}:account/o-*/*"
		policies = "arn:{partition}:organizations::{account}:policy/o-*/service_control_policy/p-*"
	)
	only := conditions{"StringEquals": {"organizations:PolicyType": {"SERVICE_CONTROL_POLICY"}}}
	return action.Spec{
		Name:    "aws.organizations.quarantine_account",
		Summary: "Deny everything in an account of the organization",
		Doc: "Attaches a service control policy to the account that denies every action to all of its users and roles, the root user " +
			"included. The policy is made once, named `" + quarantinePolicy + "` and a part of its own hash; where a policy of that name " +
			"says something else, somebody changed it, and the action refuses.\n\n" +
			"Excepted are the principals that Riposte acts as and those of `except`, where your break-glass roles belong. Not stopped are roles linked to services, what principals of other accounts do to resources of this one by those " +
			"resources' own policies, and what runs without calling AWS. The management account can't be quarantined, for no " +
			"such policy counts there; Riposte's home account is refused.\n\n" +
			"Riposte's home account must be the management account, or one to which policies are delegated. Undo detaches the " +
			"policy and leaves it, for the next time.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "account_id", Type: action.String, Entity: entity.Account, Doc: "the account; the step's if absent"},
			{Name: "except", Type: action.Strings, Doc: "ARNs of roles or users that go on working, such as the investigators'; * stands for any part"},
		},
		Permissions: slices.Concat(
			permit(action.PlanPhase, "*", nil, "organizations:DescribeOrganization", "organizations:ListAccounts"),
			permit(action.PlanPhase, account, nil, "organizations:DescribeAccount"),
			permit(action.PlanPhase, account, only, "organizations:ListPoliciesForTarget"),
			permit(action.PlanPhase, policies, only, "organizations:DescribePolicy"),
			permit(action.PlanPhase, "*", only, "organizations:ListPolicies"),
			permit(action.ApplyPhase, "*", only, "organizations:CreatePolicy"),
			permit(action.ApplyPhase, account, only, "organizations:AttachPolicy"),
			permit(action.ApplyPhase, policies, only, "organizations:AttachPolicy"),
			permit(action.UndoPhase, account, only, "organizations:DetachPolicy"),
			permit(action.UndoPhase, policies, only, "organizations:DetachPolicy"),
		),
	}
}

// quarantineDocument is the policy that denies everything to everybody but those who must go on. Names such as
// break-glass are not excepted: whoever took over the account could have made a role of that name. Nobody is
// locked out for good, for the management account can detach the policy at any time.
func (c *Cloud) quarantineDocument(in action.Input) (json.RawMessage, error) {
	var spared []string
	for _, pattern := range c.Own() {
		if strings.Contains(pattern, ":iam:") { // what AWS compares of a session is its role
			spared = append(spared, pattern)
		}
	}
	for _, pattern := range in.Params.Strings("except") {
		if !exceptionForm.MatchString(pattern) {
			return nil, fault.WithHint(fault.New(fault.Invalid, "except: %q is not the ARN of a role or a user", shorten(pattern)),
				"write it as arn:aws:iam::*:role/investigators/*; a pattern without a name would except everybody")
		}
		spared = append(spared, pattern)
	}
	slices.Sort(spared)
	type statement struct {
		Sid       string
		Effect    string
		Action    []string
		Resource  []string
		Condition map[string]map[string][]string
	}
	document := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{
		Sid: "RiposteQuarantine", Effect: "Deny", Action: []string{"*"}, Resource: []string{"*"},
		Condition: map[string]map[string][]string{"ArnNotLike": {"aws:PrincipalArn": slices.Compact(spared)}},
	}}}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode policy %s: %w", quarantinePolicy, err)
	}
	return text, nil
}

func quarantineName(document json.RawMessage) string {
	sum := sha256.Sum256(policydoc.Meaning(document))
	return quarantinePolicy + "-" + hex.EncodeToString(sum[:4])
}

// organizationOf is a client of AWS Organizations in Riposte's home account.
func (c *Cloud) organizationOf() (*organizations.Client, error) {
	return client(c, action.Place{}, func(made aws.Config) *organizations.Client { return organizations.NewFromConfig(made) })
}

// outcast refuses the accounts that must not be quarantined.
func (c *Cloud) outcast(ctx context.Context, api *organizations.Client, account string) error {
	if !IsAccount(account) {
		return fault.New(fault.Invalid, "account_id: %q is no account: its id has 12 digits", shorten(account))
	}
	if account == c.self.Account {
		return fault.New(fault.Denied, "account %s is Riposte's home: it doesn't shut itself out", account)
	}
	got, err := api.DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
	if coded(err, "AWSOrganizationsNotInUseException") {
		return fault.New(fault.Invalid, "account %s is in no organization", c.self.Account)
	}
	if err != nil {
		return fmt.Errorf("read the organization: %w", classify(err))
	}
	if aws.ToString(got.Organization.MasterAccountId) == account {
		return fault.WithHint(fault.New(fault.Denied, "account %s is the organization's management account", account),
			"service control policies don't count there: contain its users and roles one by one")
	}
	return nil
}

// attachedPolicy finds the quarantine's policy among those attached to an account; "" if it isn't.
func (c *Cloud) attachedPolicy(ctx context.Context, api *organizations.Client, account, name string) (string, error) {
	pages := organizations.NewListPoliciesForTargetPaginator(api, &organizations.ListPoliciesForTargetInput{
		TargetId: aws.String(account), Filter: types.PolicyTypeServiceControlPolicy,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if coded(err, "TargetNotFoundException") || coded(err, "AccountNotFoundException") {
			return "", fault.New(fault.NotFound, "the organization has no account %s", account)
		}
		if err != nil {
			return "", fmt.Errorf("list policies of account %s: %w", account, classify(err))
		}
		for _, policy := range page.Policies {
			if aws.ToString(policy.Name) == name {
				return aws.ToString(policy.Id), nil
			}
		}
	}
	return "", nil
}

func (c *Cloud) readQuarantine(ctx context.Context, in action.Input) (quarantined, error) {
	api, err := c.organizationOf()
	if err != nil {
		return quarantined{}, err
	}
	account := c.targetAccount(in)
	if err := c.outcast(ctx, api, account); err != nil {
		return quarantined{}, err
	}
	wanted, err := c.quarantineDocument(in)
	if err != nil {
		return quarantined{}, err
	}
	id, err := c.attachedPolicy(ctx, api, account, quarantineName(wanted))
	if err != nil || id == "" {
		return quarantined{}, err
	}
	document, err := policyText(ctx, api, id)
	return quarantined{Attached: true, Document: document}, err
}

func policyText(ctx context.Context, api *organizations.Client, id string) (json.RawMessage, error) {
	got, err := api.DescribePolicy(ctx, &organizations.DescribePolicyInput{PolicyId: aws.String(id)})
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", id, classify(err))
	}
	text := json.RawMessage(aws.ToString(got.Policy.Content))
	if !json.Valid(text) {
		return nil, fault.New(fault.Internal, "policy %s: AWS Organizations returned no JSON", id)
	}
	return text, nil
}

func (c *Cloud) writeQuarantine(ctx context.Context, in action.Input, _, to quarantined) (quarantined, error) {
	api, err := c.organizationOf()
	if err != nil {
		return quarantined{}, err
	}
	account := c.targetAccount(in)
	wanted, err := c.quarantineDocument(in)
	if err != nil {
		return quarantined{}, err
	}
	if !to.Attached {
		id, err := c.attachedPolicy(ctx, api, account, quarantineName(wanted))
		if err != nil || id == "" {
			return to, err
		}
		_, err = api.DetachPolicy(ctx, &organizations.DetachPolicyInput{PolicyId: aws.String(id), TargetId: aws.String(account)})
		if err != nil && !coded(err, "PolicyNotAttachedException") {
			return quarantined{}, fmt.Errorf("detach policy %s from account %s: %w", id, account, classify(err))
		}
		return to, nil
	}
	id, err := c.ensureQuarantine(ctx, api, to.Document)
	if err != nil {
		return quarantined{}, err
	}
	_, err = api.AttachPolicy(ctx, &organizations.AttachPolicyInput{PolicyId: aws.String(id), TargetId: aws.String(account)})
	switch {
	case coded(err, "DuplicatePolicyAttachmentException"):
	case coded(err, "PolicyTypeNotEnabledException"):
		return quarantined{}, fault.WithHint(fault.New(fault.Invalid, "the organization's root doesn't use service control policies"),
			"enable them in AWS Organizations, under Policies")
	case coded(err, "ConstraintViolationException"):
		return quarantined{}, fault.WithHint(fault.New(fault.Invalid, "attach policy %s to account %s: %w", id, account, err),
			"an account takes five service control policies at most: detach one")
	case err != nil:
		return quarantined{}, fmt.Errorf("attach policy %s to account %s: %w", id, account, classify(err))
	}
	return to, nil
}

// ensureQuarantine gives the id of the policy with that text. It is made where it isn't there.
func (c *Cloud) ensureQuarantine(ctx context.Context, api *organizations.Client, document json.RawMessage) (string, error) {
	name := quarantineName(document)
	pages := organizations.NewListPoliciesPaginator(api, &organizations.ListPoliciesInput{Filter: types.PolicyTypeServiceControlPolicy})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("list service control policies: %w", classify(err))
		}
		for _, policy := range page.Policies {
			if aws.ToString(policy.Name) != name {
				continue
			}
			text, err := policyText(ctx, api, aws.ToString(policy.Id))
			if err == nil && !policydoc.Same(text, document) {
				err = fault.WithHint(fault.New(fault.Conflict, "policy %s doesn't say what Riposte made it with: somebody changed it", name),
					"find out who did; delete the policy, and Riposte makes it again")
			}
			return aws.ToString(policy.Id), err
		}
	}
	made, err := api.CreatePolicy(ctx, &organizations.CreatePolicyInput{
		Name: aws.String(name), Type: types.PolicyTypeServiceControlPolicy, Content: aws.String(string(document)),
		Description: aws.String("Riposte attaches it to accounts that it quarantines"),
	})
	if coded(err, "DuplicatePolicyException") { // somebody made it in this moment
		return "", fault.Wrap(fault.Transient, err)
	}
	if err != nil {
		return "", fmt.Errorf("create policy %s: %w", name, classify(err))
	}
	return aws.ToString(made.Policy.PolicySummary.Id), nil
}

func (c *Cloud) quarantineFacts(ctx context.Context, in action.Input, _ quarantined, plan *action.Change) error {
	api, err := c.organizationOf()
	if err != nil {
		return err
	}
	account := c.targetAccount(in)
	got, err := api.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: aws.String(account)})
	if err != nil {
		return fmt.Errorf("read account %s: %w", account, classify(err))
	}
	plan.Target.ARN = aws.ToString(got.Account.Arn)
	plan.Impact = []string{
		fmt.Sprintf("account %s is called %q; it joined the organization %s", account, shorten(aws.ToString(got.Account.Name)), moment(got.Account.JoinedTimestamp)),
		"everything that runs in the account and calls AWS stops, deployments and backups included",
		"people can't sign in to it and look, but for those that are excepted",
	}
	return nil
}

func (c *Cloud) countAccounts(ctx context.Context) (int, error) {
	api, err := c.organizationOf()
	if err != nil {
		return 0, err
	}
	count := 0
	pages := organizations.NewListAccountsPaginator(api, &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list accounts: %w", classify(err))
		}
		count += len(page.Accounts)
	}
	return count, nil
}
