package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// mostAccounts and mostUnits bound what is kept of an organisation.
	mostAccounts, mostUnits = 20_000, 5_000
	// discoveryTime bounds one discovery.
	discoveryTime = 5 * time.Minute
	// firstRetry is how long a discovery that failed is waited with; doubled up to the refresh.
	firstRetry = 30 * time.Second
	// activeState is the state of an account that can be acted in.
	activeState = string(types.AccountStateActive)
)

// Account is one of an organisation, and whether Riposte acts in it.
type Account struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	State string            `json:"state"`
	Path  []string          `json:"path"` // ids of the root and of the units that it is in, the root first
	Tags  map[string]string `json:"tags,omitempty"`
	In    bool              `json:"in"`
	Why   string            `json:"why"`
}

// Accounts is what a discovery found.
type Accounts struct {
	At  time.Time `json:"at"`
	All []Account `json:"accounts"` // by id
}

// In lists the ids of the accounts that Riposte acts in.
func (a *Accounts) In() []string {
	var ids []string
	for _, account := range a.All {
		if account.In {
			ids = append(ids, account.ID)
		}
	}
	return ids
}

// Organization knows the accounts of an AWS organization. What it knew last stays in force while
// Organizations can't be asked.
type Organization struct {
	cloud  *Cloud
	api    *organizations.Client
	config OrganizationConfig
	bound  []string // aws.accounts
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	known   *Accounts // nil until the first discovery, or Restore
	trouble error     // of the last discovery
	since   time.Time // of the trouble
}

// Follow makes the accounts in which the cloud acts follow its organisation. It gives nil where the
// configuration names none. Refresh or Restore it before use: without, nothing may be acted on.
func (c *Cloud) Follow(now func() time.Time, logger *slog.Logger) *Organization {
	if !c.options.Organization.Enabled {
		return nil
	}
	o := &Organization{
		cloud: c, api: organizations.NewFromConfig(c.home), config: c.options.Organization, bound: c.options.Accounts,
		now: now, logger: logger,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.organization = o
	return o
}

// Run discovers again and again until ctx ends. Kept is given what each discovery found.
func (o *Organization) Run(ctx context.Context, kept func(*Accounts)) error {
	every := cmp.Or(o.config.Refresh, DefaultRefresh)
	failures := 0
	for wait := every; sleep(ctx, wait); {
		found, err := o.Refresh(ctx)
		switch {
		case err == nil:
			failures, wait = 0, every
			kept(found)
		case ctx.Err() == nil:
			o.logger.ErrorContext(ctx, "discover accounts; those known before stay in force", "err", err.Error())
			wait = min(firstRetry<<min(failures, 10), every)
			failures++
		}
	}
	return nil
}

// Refresh discovers the accounts and puts them in force. Where that fails, those known before stay.
func (o *Organization) Refresh(ctx context.Context) (*Accounts, error) {
	bounded, cancel := context.WithTimeout(ctx, discoveryTime)
	defer cancel()
	found, err := o.discover(bounded)
	o.mu.Lock()
	before := o.known
	if err == nil {
		o.known = found
	}
	if err != nil && o.trouble == nil {
		o.since = o.now()
	}
	o.trouble = err
	o.mu.Unlock()
	if err != nil {
		return nil, err
	}
	o.tell(ctx, before, found)
	return found, nil
}

// tell logs which accounts came and went.
func (o *Organization) tell(ctx context.Context, before, after *Accounts) {
	var old []string
	if before != nil {
		old = before.In()
	}
	now := after.In()
	absent := func(from []string) func(string) bool {
		return func(id string) bool { return slices.Contains(from, id) }
	}
	more, fewer := slices.DeleteFunc(slices.Clone(now), absent(old)), slices.DeleteFunc(slices.Clone(old), absent(now))
	if len(more)+len(fewer) == 0 {
		return
	}
	const few = 50
	o.logger.InfoContext(ctx, "accounts in which Riposte acts", "accounts", len(now), "of", len(after.All),
		"more", more[:min(len(more), few)], "fewer", fewer[:min(len(fewer), few)], "more_count", len(more), "fewer_count", len(fewer))
}

// Restore puts accounts in force that an earlier process discovered, as text of Keep's. What the
// configuration says now decides which of them are in.
func (o *Organization) Restore(text []byte) error {
	var kept Accounts
	if err := json.Unmarshal(text, &kept); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("read kept accounts: %w", err))
	}
	if kept.At.IsZero() || len(kept.All) > mostAccounts {
		return fault.New(fault.Invalid, "the kept accounts are none")
	}
	for i := range kept.All {
		one := &kept.All[i]
		in, why, err := o.config.decide(*one, o.cloud.self.Account, o.bound)
		if err != nil { // the configuration asks for tags that were not read then
			in, why = false, "its tags are not known yet"
		}
		one.In, one.Why = in, why
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = &kept
	}
	return nil
}

// Keep gives the accounts as a text for Restore.
func (a *Accounts) Keep() ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("keep accounts: %w", err)
	}
	return text, nil
}

// Known gives what is in force, nil if nothing is yet.
func (o *Organization) Known() *Accounts {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known
}

// Check tells why the last discovery failed, nil if it didn't.
func (o *Organization) Check(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.trouble == nil {
		return nil
	}
	told := fmt.Errorf("the organisation's accounts can't be discovered since %s: %w", o.since.UTC().Format(time.RFC3339), o.trouble)
	if o.known != nil {
		return fmt.Errorf("%w; the %d of %s stay in force", told, len(o.known.In()), o.known.At.UTC().Format(time.RFC3339))
	}
	return told
}

// Note tells how many accounts are in force, for people.
func (o *Organization) Note() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		return "no accounts are known yet"
	}
	return fmt.Sprintf("acts in %d of %d accounts, as of %s", len(o.known.In()), len(o.known.All), o.known.At.UTC().Format(time.RFC3339))
}

// admits says nil if Riposte acts in an account. It is of kind Denied where it does not, Transient while
// nobody knows.
func (o *Organization) admits(account string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		return fault.New(fault.Transient, "account %s: the organisation's accounts are not known yet", account)
	}
	at, found := slices.BinarySearchFunc(o.known.All, account, func(a Account, id string) int { return cmp.Compare(a.ID, id) })
	switch {
	case !found && account == o.cloud.self.Account:
		return nil
	case !found:
		return fault.WithHint(fault.New(fault.Denied, "account %s is not in the organisation, as of %s", account, o.known.At.UTC().Format(time.RFC3339)),
			"riposte accounts lists those that are")
	case !o.known.All[at].In:
		return fault.WithHint(fault.New(fault.Denied, "Riposte does not act in account %s: %s", account, o.known.All[at].Why),
			"riposte accounts lists where it does; aws.organization decides")
	}
	return nil
}

// discover asks Organizations for all accounts and decides on each.
func (o *Organization) discover(ctx context.Context) (*Accounts, error) {
	at := o.now()
	paths, err := o.tree(ctx)
	if err != nil {
		return nil, err
	}
	found := &Accounts{At: at}
	pages := organizations.NewListAccountsPaginator(o.api, &organizations.ListAccountsInput{}, func(p *organizations.ListAccountsPaginatorOptions) {
		p.StopOnDuplicateToken = true
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, o.failed("list accounts", err)
		}
		for _, listed := range page.Accounts {
			account, err := o.account(ctx, listed, paths)
			if err != nil {
				return nil, err
			}
			found.All = append(found.All, account)
		}
		if len(found.All) > mostAccounts {
			return nil, fault.New(fault.Invalid, "the organisation has more than %d accounts", mostAccounts)
		}
	}
	slices.SortFunc(found.All, func(a, b Account) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

// account completes what was listed, and decides on it.
func (o *Organization) account(ctx context.Context, listed types.Account, paths map[string][]string) (Account, error) {
	a := Account{
		ID: aws.ToString(listed.Id), Name: aws.ToString(listed.Name),
		State: cmp.Or(string(listed.State), string(listed.Status)),
	}
	if !IsAccount(a.ID) {
		return a, fault.New(fault.Internal, "Organizations lists %.20q, which is no account", a.ID)
	}
	path, known := paths[a.ID]
	if !known { // it moved, or came, while the units were read
		var err error
		if path, err = o.parents(ctx, a.ID); err != nil {
			return a, err
		}
	}
	a.Path = path
	var err error
	if a.In, a.Why, err = o.config.decide(a, o.cloud.self.Account, o.bound); errors.Is(err, errNeedsTags) {
		if a.Tags, err = o.tags(ctx, a.ID); err == nil {
			a.In, a.Why, err = o.config.decide(a, o.cloud.self.Account, o.bound)
		}
	}
	return a, err
}

// unit is an organizational unit or the root, by the ids that lead to it and its own.
type unit []string

// tree reads the units, and gives the path of each account in them.
func (o *Organization) tree(ctx context.Context) (map[string][]string, error) {
	var todo []unit
	roots := organizations.NewListRootsPaginator(o.api, &organizations.ListRootsInput{})
	for roots.HasMorePages() {
		page, err := roots.NextPage(ctx)
		if err != nil {
			return nil, o.failed("list roots", err)
		}
		for _, root := range page.Roots {
			todo = append(todo, unit{aws.ToString(root.Id)})
		}
	}
	paths := map[string][]string{}
	for seen := 0; len(todo) > 0; seen++ {
		if seen >= mostUnits {
			return nil, fault.New(fault.Invalid, "the organisation has more than %d units", mostUnits)
		}
		here := todo[0]
		todo = todo[1:]
		below, err := o.units(ctx, here)
		if err != nil {
			return nil, err
		}
		todo = append(todo, below...)
		if err := o.accountsIn(ctx, here, paths); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (o *Organization) units(ctx context.Context, of unit) ([]unit, error) {
	var below []unit
	pages := organizations.NewListOrganizationalUnitsForParentPaginator(o.api,
		&organizations.ListOrganizationalUnitsForParentInput{ParentId: aws.String(of[len(of)-1])})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, o.failed("list organizational units", err)
		}
		for _, one := range page.OrganizationalUnits {
			below = append(below, append(slices.Clone(of), aws.ToString(one.Id)))
		}
	}
	return below, nil
}

func (o *Organization) accountsIn(ctx context.Context, in unit, paths map[string][]string) error {
	pages := organizations.NewListAccountsForParentPaginator(o.api,
		&organizations.ListAccountsForParentInput{ParentId: aws.String(in[len(in)-1])})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return o.failed("list a unit's accounts", err)
		}
		for _, account := range page.Accounts {
			paths[aws.ToString(account.Id)] = in
		}
	}
	return nil
}

// deepest is how many units may be above an account; AWS allows five below the root.
const deepest = 10

// parents climbs from an account to the root.
func (o *Organization) parents(ctx context.Context, account string) ([]string, error) {
	var path []string
	for child := account; len(path) < deepest; {
		got, err := o.api.ListParents(ctx, &organizations.ListParentsInput{ChildId: aws.String(child)})
		if err != nil {
			return nil, o.failed("list parents of "+child, err)
		}
		if len(got.Parents) == 0 {
			break
		}
		child = aws.ToString(got.Parents[0].Id)
		path = append([]string{child}, path...)
		if got.Parents[0].Type == types.ParentTypeRoot {
			break
		}
	}
	return path, nil
}

func (o *Organization) tags(ctx context.Context, account string) (map[string]string, error) {
	tags := map[string]string{}
	pages := organizations.NewListTagsForResourcePaginator(o.api, &organizations.ListTagsForResourceInput{ResourceId: aws.String(account)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, o.failed("list tags of account "+account, err)
		}
		for _, tag := range page.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	return tags, nil
}

// failed says what could not be asked, and what to do where AWS refuses.
func (o *Organization) failed(doing string, err error) error {
	if _, none := errors.AsType[*types.AWSOrganizationsNotInUseException](err); none {
		return fault.WithHint(fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", doing, err)),
			"the home account is in no organisation: leave aws.organization.enabled out")
	}
	err = fmt.Errorf("%s: %w", doing, classify(err))
	if fault.Is(err, fault.Denied) {
		return fault.WithHint(err, "discovery works in the management account or a delegated administrator, whose role has what riposte permissions says")
	}
	return err
}
