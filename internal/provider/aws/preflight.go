package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// accountsAtOnce is how many accounts are looked at at the same time; IAM lets simulations be asked for a few times a
// second in each.
const accountsAtOnce = 8

// Trouble is the kind of a problem.
type Trouble string

// The kinds.
const (
	Lacking     Trouble = "permission" // a permission is not granted
	NotAssumed  Trouble = "assume"     // the account's role can't be assumed
	NoRegion    Trouble = "region"     // the region can't be used
	NoQueue     Trouble = "queue"      // a queue can't be read
	Unsimulated Trouble = "simulation" // nobody knows: the simulation failed
)

// Problem is one thing that would fail, and what it breaks.
type Problem struct {
	Account  string   `json:"account"`
	Regions  []string `json:"regions,omitempty"` // none: it is in no region
	Kind     Trouble  `json:"kind"`
	What     string   `json:"what"` // the permission, role, region or queue
	Resource string   `json:"resource,omitempty"`
	Why      string   `json:"why"`
	Breaks   []Use    `json:"breaks,omitempty"`
}

// Examined is an account that was looked at.
type Examined struct {
	Account   string   `json:"account"`
	Part      Part     `json:"part"`
	Principal string   `json:"principal"` // that acts there
	Regions   []string `json:"regions"`
	Simulated int      `json:"simulated"` // permissions, in each region
	Problems  int      `json:"problems"`
}

// Preflight is what a look at accounts found.
type Preflight struct {
	OK       bool       `json:"ok"`
	Accounts []Examined `json:"accounts"`
	Problems []Problem  `json:"problems"`
	// Unseen says what the simulation can't see.
	Unseen []string `json:"unseen"`
}

// unseen is what IAM's policy simulator leaves out.
func unseen() []string {
	return []string{
		"service control policies with conditions, and resource control policies: AWS Organizations may still deny",
		"resource-based policies, such as those of keys, buckets and queues, and policies of VPC endpoints",
		"denials of single resources: permissions are simulated on the patterns that actions name, not on every resource",
		"policy conditions on what the simulation is not told, such as addresses and times",
	}
}

// Preflight asks, in accounts and regions, for everything that the duties and queues need. What fails is in
// the result; the error is about what kept it from looking at all.
func (c *Cloud) Preflight(ctx context.Context, accounts, regions []string, duties []Duty, queues []QueueConfig) (Preflight, error) {
	looks := make([]*look, len(accounts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(accountsAtOnce)
	for i, account := range accounts {
		looks[i] = &look{cloud: c, Examined: Examined{Account: account, Part: Member, Regions: regions}}
		if account == c.self.Account {
			looks[i].Part = Home
		}
		group.Go(func() error { return looks[i].all(ctx, duties, queues) })
	}
	if err := group.Wait(); err != nil {
		return Preflight{}, err
	}
	found := Preflight{OK: true, Accounts: []Examined{}, Problems: []Problem{}, Unseen: unseen()}
	for _, l := range looks {
		l.Problems = len(l.problems)
		found.Accounts = append(found.Accounts, l.Examined)
		found.Problems = append(found.Problems, l.problems...)
		found.OK = found.OK && len(l.problems) == 0
	}
	return found, nil
}

// look is one at an account.
type look struct {
	Examined
	cloud    *Cloud
	reach    aws.Config
	problems []Problem
}

// problem notes one; the same in another region, or of another step, is one.
func (l *look) problem(p Problem, region string) {
	p.Account = l.Account
	if region != "" {
		p.Regions = []string{region}
	}
	for i := range l.problems {
		known := &l.problems[i]
		if known.Kind != p.Kind || known.What != p.What || known.Why != p.Why || inRegion(known.Resource, "*") != inRegion(p.Resource, "*") {
			continue
		}
		if known.Resource != p.Resource {
			known.Resource = inRegion(p.Resource, "*")
		}
		known.Regions, known.Breaks = more(known.Regions, p.Regions), more(known.Breaks, p.Breaks)
		return
	}
	l.problems = append(l.problems, p)
}

// more adds to a list what it lacks.
func more[T comparable](list, others []T) []T {
	for _, other := range others {
		if !slices.Contains(list, other) {
			list = append(list, other)
		}
	}
	return list
}

// inRegion puts another region into an ARN that has one.
func inRegion(resource, region string) string {
	parsed, err := arn.Parse(resource)
	if err != nil || parsed.Region == "" {
		return resource
	}
	parsed.Region = region
	return parsed.String()
}

func (l *look) all(ctx context.Context, duties []Duty, queues []QueueConfig) error {
	if l.Part == Member {
		if ok, err := l.assume(ctx); !ok {
			return err
		}
	} else {
		l.reach, l.Principal = l.cloud.home, l.cloud.self.principal()
		if l.cloud.Admits(l.Account) != nil { // it is excluded, and the home role only reads and assumes
			duties = nil
		}
		for _, queue := range queues {
			l.queue(ctx, queue)
		}
	}
	usable := l.regions(ctx)
	return l.permissions(ctx, usable, duties, queues)
}

// assume gets into the account for real.
func (l *look) assume(ctx context.Context) (bool, error) {
	l.Principal = l.cloud.roleIn(l.Account)
	at := action.Place{Account: l.Account, Region: l.cloud.self.Region}
	reach, err := l.cloud.at(at)
	if err == nil {
		_, err = reach.Credentials.Retrieve(ctx)
		err = classify(err)
	}
	switch {
	case err == nil:
		l.reach = reach
		return true, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	}
	why := reason(err)
	if fault.Is(err, fault.Denied) && l.cloud.options.RoleName() != "" {
		why += "; the role must exist, trust " + l.cloud.self.principal() + " and ask for the external id that aws.external_id says"
	}
	l.problem(Problem{Kind: NotAssumed, What: "sts:AssumeRole", Resource: l.Principal, Why: why, Breaks: []Use{{For: "everything in this account"}}}, "")
	return false, nil
}

// regions gives those of the account that can be used. A region that isn't enabled refuses credentials.
func (l *look) regions(ctx context.Context) []string {
	var usable []string
	for _, region := range l.Regions {
		there := l.reach.Copy()
		there.Region = region
		_, err := sts.NewFromConfig(there).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			usable = append(usable, region)
			continue
		}
		why := reason(classify(err))
		if code := codeOf(err); code == "InvalidClientTokenId" || code == "RegionDisabledException" {
			why = "it is not enabled in the account"
		}
		l.problem(Problem{Kind: NoRegion, What: region, Why: why, Breaks: []Use{{For: "everything in this region"}}}, region)
	}
	return usable
}

// queue reads a queue's attributes for real, which takes no message out of it.
func (l *look) queue(ctx context.Context, q QueueConfig) {
	place, err := parseQueueURL(q.URL, l.cloud.self)
	if err == nil {
		reach := l.cloud.home.Copy()
		reach.Region = place.Region
		_, err = sqs.NewFromConfig(reach).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: aws.String(q.URL), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
		})
		err = classify(err)
	}
	if err != nil {
		l.problem(Problem{Kind: NoQueue, What: q.URL, Why: reason(err), Breaks: []Use{{For: "reading events"}}}, place.Region)
	}
}

// global reports whether a permission is of a service that is in no region.
func global(permission string) bool {
	service, _, _ := strings.Cut(permission, ":")
	return slices.Contains([]string{"iam", "organizations", "sts"}, service)
}

// permissions simulates what is needed in each region; of services without regions, once. That roles can be
// assumed is tried for real.
func (l *look) permissions(ctx context.Context, regions []string, duties []Duty, queues []QueueConfig) error {
	asked := Asked{Part: l.Part, At: Places{Partition: l.cloud.self.Partition, Account: l.Account}}
	for i, region := range regions {
		asked.At.Regions = []string{region}
		needs, err := l.cloud.options.Needs(asked, duties, queues)
		if err != nil {
			return err
		}
		needs = slices.DeleteFunc(needs, func(n Need) bool {
			return n.Permission == "iam:SimulatePrincipalPolicy" || n.Permission == "sts:AssumeRole" || i > 0 && global(n.Permission) || l.elsewhere(n, region, i > 0)
		})
		l.Simulated = max(l.Simulated, len(needs))
		if ok, err := l.simulate(ctx, region, needs); !ok {
			return err
		}
	}
	return nil
}

// elsewhere reports whether a need is in a region of its own, such as a queue's; those are simulated once.
func (l *look) elsewhere(n Need, region string, again bool) bool {
	parsed, err := arn.Parse(n.Resource)
	return again && err == nil && parsed.Region != region && parsed.Region != "" && parsed.Region != "*"
}

// simulate asks IAM about permissions, those on one resource and under the same conditions together. It
// returns false when asking further makes no sense.
func (l *look) simulate(ctx context.Context, region string, needs []Need) (bool, error) {
	alike := map[string][]Need{}
	for _, need := range needs {
		key := fmt.Sprint(global(need.Permission), need.Resource, need.Conditions)
		alike[key] = append(alike[key], need)
	}
	for _, key := range slices.Sorted(maps.Keys(alike)) {
		err := l.ask(ctx, region, alike[key])
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case fault.Is(err, fault.Denied), fault.Is(err, fault.NotFound), l.isRoot():
			l.problem(Problem{
				Kind: Unsimulated, What: "iam:SimulatePrincipalPolicy", Resource: l.Principal,
				Why: reason(err) + "; allow it, as riposte permissions says, or run preflight as somebody who may", Breaks: []Use{{For: "riposte preflight"}},
			}, "")
			return false, nil
		default:
			l.problem(Problem{Kind: Unsimulated, What: alike[key][0].Permission, Resource: alike[key][0].Resource, Why: reason(err), Breaks: users(alike[key])}, "")
		}
	}
	return true, nil
}

// isRoot reports whether the account's root acts, whom IAM does not simulate.
func (l *look) isRoot() bool { return strings.HasSuffix(l.Principal, ":root") }

func users(needs []Need) []Use {
	var all []Use
	for _, need := range needs {
		all = more(all, need.Uses)
	}
	return all
}

// mostAnswers is how many results one page of a simulation has.
const mostAnswers = 1000

func (l *look) ask(ctx context.Context, region string, needs []Need) error {
	in := &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: aws.String(l.Principal), ResourceArns: []string{needs[0].Resource},
		ContextEntries: contextOf(needs[0], region), MaxItems: aws.Int32(mostAnswers),
	}
	for _, need := range needs {
		in.ActionNames = append(in.ActionNames, need.Permission)
	}
	api := iam.NewFromConfig(l.reach)
	answered := map[string]bool{}
	pages := iam.NewSimulatePrincipalPolicyPaginator(api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, none := errors.AsType[*types.NoSuchEntityException](err); none && l.withPath(ctx, api, in) {
			pages = iam.NewSimulatePrincipalPolicyPaginator(api, in)
			continue
		}
		if err != nil {
			return fmt.Errorf("simulate %s: %w", l.Principal, classify(err))
		}
		for _, result := range page.EvaluationResults {
			answered[strings.ToLower(aws.ToString(result.EvalActionName))] = true
			l.judge(region, needs, result)
		}
	}
	for _, need := range needs {
		if !answered[strings.ToLower(need.Permission)] {
			return fault.New(fault.Internal, "the simulation says nothing about %s", need.Permission)
		}
	}
	return nil
}

// withPath finds the path of the role that we are, which a session's ARN leaves out. It returns false where
// that is no help.
func (l *look) withPath(ctx context.Context, api *iam.Client, in *iam.SimulatePrincipalPolicyInput) bool {
	parsed, err := arn.Parse(l.Principal)
	name, isRole := strings.CutPrefix(parsed.Resource, "role/")
	if err != nil || !isRole || strings.Contains(name, "/") {
		return false
	}
	got, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if err != nil || aws.ToString(got.Role.Arn) == l.Principal {
		return false
	}
	l.Principal = aws.ToString(got.Role.Arn)
	in.PolicySourceArn = got.Role.Arn
	return true
}

// judge notes a permission that the simulation does not find allowed.
func (l *look) judge(region string, needs []Need, result types.EvaluationResult) {
	if result.EvalDecision == types.PolicyEvaluationDecisionTypeAllowed {
		return
	}
	why := "no policy of the role allows it"
	switch {
	case result.OrganizationsDecisionDetail != nil && !result.OrganizationsDecisionDetail.AllowedByOrganizations:
		why = "AWS Organizations denies it: a service control policy"
	case result.PermissionsBoundaryDecisionDetail != nil && !result.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary:
		why = "the role's permissions boundary does not allow it"
	case result.EvalDecision == types.PolicyEvaluationDecisionTypeExplicitDeny:
		why = "a policy of the role denies it" + by(result.MatchedStatements)
	case len(result.MissingContextValues) > 0:
		why = "no policy of the role allows it without knowing " + strings.Join(result.MissingContextValues, ", ")
	}
	for _, need := range needs {
		if !strings.EqualFold(need.Permission, aws.ToString(result.EvalActionName)) {
			continue
		}
		at := region
		if global(need.Permission) {
			at = ""
		}
		l.problem(Problem{Kind: Lacking, What: need.Permission, Resource: need.Resource, Why: why, Breaks: need.Uses}, at)
	}
}

func by(statements []types.Statement) string {
	var names []string
	for _, s := range statements {
		if name := aws.ToString(s.SourcePolicyId); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// contextOf tells the simulation what a request would say: the region, and what the permission's own
// conditions ask for.
func contextOf(n Need, region string) []types.ContextEntry {
	if global(n.Permission) {
		region = "us-east-1"
	}
	entries := []types.ContextEntry{entry("aws:RequestedRegion", types.ContextKeyTypeEnumString, region)}
	for _, operator := range slices.Sorted(maps.Keys(n.Conditions)) {
		for _, key := range slices.Sorted(maps.Keys(n.Conditions[operator])) {
			values := n.Conditions[operator][key]
			switch kind := strings.ToLower(operator); {
			case strings.HasPrefix(kind, "null"):
				if slices.Contains(values, "false") { // it must be there, whatever it is
					entries = append(entries, entry(key, types.ContextKeyTypeEnumString, "riposte"))
				}
			case strings.Contains(kind, "not"): // it must be something else, or absent
			case strings.HasPrefix(kind, "bool"):
				entries = append(entries, entry(key, types.ContextKeyTypeEnumBoolean, values...))
			default:
				entries = append(entries, entry(key, types.ContextKeyTypeEnumString, values[:min(1, len(values))]...))
			}
		}
	}
	return entries
}

func entry(key string, kind types.ContextKeyTypeEnum, values ...string) types.ContextEntry {
	return types.ContextEntry{ContextKeyName: aws.String(key), ContextKeyType: kind, ContextKeyValues: values}
}

// principal is the ARN of the role or user that we are, for IAM: a session's role.
func (s Self) principal() string {
	parsed, err := arn.Parse(s.ARN)
	if err != nil {
		return s.ARN
	}
	if role, ok := cutSession(parsed.Resource); ok {
		return arn.ARN{Partition: parsed.Partition, Service: "iam", AccountID: parsed.AccountID, Resource: "role/" + role}.String()
	}
	return s.ARN
}

// reason is what people read of an error of AWS: its code and message, without the request's id.
func reason(err error) string {
	if code := codeOf(err); code != "" {
		return strings.TrimSuffix(code+": "+messageOf(err), ": ")
	}
	return err.Error()
}

// Scope lists the accounts that Riposte needs, its own first: then those of the organisation in which it acts,
// or those of aws.accounts.
func (c *Cloud) Scope() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	accounts := []string{c.self.Account}
	if c.options.RoleName() == "" {
		return accounts
	}
	others := slices.Clone(c.options.Accounts)
	if c.organization != nil {
		others = nil
		if known := c.organization.Known(); known != nil {
			others = known.In()
		}
	}
	slices.Sort(others)
	return more(accounts, others)
}
