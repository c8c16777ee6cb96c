// Package aws is all that Riposte does with Amazon Web Services: the sources it reads and the actions it takes.
package aws

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithylog "github.com/aws/smithy-go/logging"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Config says how Riposte reaches AWS. Credentials come from where AWS's own tools take them: the
// environment, the shared files, the role of the instance or the task.
type Config struct {
	Enabled bool `yaml:"enabled"`
	// Region is the home region; the SDK's own default if empty.
	Region string `yaml:"region"`
	// Profile is a profile of the shared files.
	Profile string `yaml:"profile"`
	// Endpoint replaces AWS's addresses by one, for an emulator.
	Endpoint string `yaml:"endpoint"`
	// AssumeRole is the name of the role that is assumed to act in accounts other than the home account.
	// Without it, Riposte acts in its home account alone.
	AssumeRole string `yaml:"assume_role"`
	// ExternalID is given when a role is assumed.
	ExternalID secret.Secret `yaml:"external_id"`
	// Accounts bounds the accounts in which Riposte acts; empty is any that can be reached.
	Accounts []string `yaml:"accounts"`
	// SecurityHub says what Security Hub is told.
	SecurityHub SecurityHubConfig `yaml:"securityhub"`
	// Organization says which accounts of an organisation Riposte acts in.
	Organization OrganizationConfig `yaml:"organization"`
}

// IsAccount reports whether a text is an account's id: 12 digits.
func IsAccount(text string) bool { return accountForm.MatchString(text) }

var accountForm = shaped(`^\d{12}$`)

// Check finds what is wrong without asking AWS. Errors name the key.
func (o Config) Check() error {
	var errs []error
	for i, account := range o.Accounts {
		if !IsAccount(account) {
			errs = append(errs, fmt.Errorf("aws.accounts[%d]: %q is no account: its id has 12 digits", i, account))
		}
	}
	if parsed, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || parsed.Host == "") {
		errs = append(errs, fmt.Errorf("aws.endpoint: %q is not a URL such as http://127.0.0.1:5000", o.Endpoint))
	}
	errs = append(errs, o.SecurityHub.check())
	if o.AssumeRole != "" && !roleForm.MatchString(o.AssumeRole) {
		errs = append(errs, fmt.Errorf("aws.assume_role: %q is no name of a role", o.AssumeRole))
	}
	return fault.Wrap(fault.Invalid, errors.Join(append(errs, o.checkOrganization()...)...))
}

// attempts is how often the SDK tries one call; the runner tries again on top, and journals it.
const attempts = 3

// sessionName is the session's name in the roles that are assumed. The self-trigger guard knows it.
const sessionName = "riposte"

// Cloud reaches AWS: any service at any place.
type Cloud struct {
	options Config
	home    aws.Config
	self    Self

	mu           sync.Mutex
	places       map[action.Place]aws.Config
	organization *Organization // nil where the accounts follow none
}

// Self is who Riposte is at AWS.
type Self struct {
	ARN       string // of the caller
	Account   string
	Partition string
	Region    string
}

// Connect finds credentials and asks AWS who we are. Errors are Invalid where the configuration is wrong,
// Denied or Transient by AWS's answer.
func Connect(ctx context.Context, o Config) (*Cloud, error) {
	transport := awshttp.NewBuildableClient().WithTimeout(25 * time.Second)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(transport),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(s *retry.StandardOptions) {
				s.MaxAttempts = attempts
				s.MaxBackoff = 2 * time.Second
			})
		}),
		config.WithAppID("riposte"),
		config.WithLogger(smithylog.Nop{}), // what matters comes back as an error
	}
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Endpoint != "" {
		options = append(options, config.WithBaseEndpoint(o.Endpoint))
	}
	home, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("aws: load configuration: %w", err))
	}
	if home.Region == "" {
		return nil, fault.New(fault.Invalid, "aws.region: no region is set, here or in the environment")
	}
	c := &Cloud{options: o, home: home, places: map[action.Place]aws.Config{}}
	if err := c.whoAmI(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cloud) whoAmI(ctx context.Context) error {
	who, err := sts.NewFromConfig(c.home).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return fmt.Errorf("aws: ask who we are: %w", classify(err))
	}
	parsed, err := arn.Parse(aws.ToString(who.Arn))
	if err != nil {
		return fault.New(fault.Internal, "aws: our own ARN %q: %w", aws.ToString(who.Arn), err)
	}
	c.self = Self{ARN: aws.ToString(who.Arn), Account: aws.ToString(who.Account), Partition: parsed.Partition, Region: c.home.Region}
	return nil
}

// Self tells who Riposte is at AWS.
func (c *Cloud) Self() Self { return c.self }

// Ping asks AWS who we are: credentials and network work if it returns nil.
func (c *Cloud) Ping(ctx context.Context) error {
	_, err := sts.NewFromConfig(c.home).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	return classify(err)
}

// here completes a place: the home account and region where it says none.
func (c *Cloud) here(at action.Place) action.Place {
	if at.Account == "" {
		at.Account = c.self.Account
	}
	if at.Region == "" {
		at.Region = c.self.Region
	}
	return at
}

// regionForm is what regions are called: eu-central-1, us-gov-west-1.
var regionForm = shaped(`^[a-z]{2,8}(-[a-z]{2,16}){1,2}-[0-9]{1,2}$`)

// IsRegion reports whether a text can be a region's name.
func IsRegion(text string) bool { return regionForm.MatchString(text) }

// checkRegion refuses what can't be a region's name. It becomes part of the host to which our credentials
// are shown, and whoever writes a finding or a notice can write anything there.
func checkRegion(name string) error {
	if !regionForm.MatchString(name) {
		return fault.New(fault.Invalid, "aws: %.64q is no region", name)
	}
	return nil
}

// at gives what clients of services are made from, for a place. It is of kind Denied where Riposte has no
// way into the account, of kind Invalid where the region is none.
func (c *Cloud) at(at action.Place) (aws.Config, error) {
	at = c.here(at)
	if err := checkRegion(at.Region); err != nil {
		return aws.Config{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admits(at.Account); err != nil { // each time: accounts leave
		return aws.Config{}, err
	}
	if known, ok := c.places[at]; ok {
		return known, nil
	}
	made := c.home.Copy()
	made.Region = at.Region
	if at.Account != c.self.Account {
		role := c.roleIn(at.Account)
		assumed := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(c.home), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = sessionName
			if !c.options.ExternalID.IsZero() {
				o.ExternalID = aws.String(c.options.ExternalID.Reveal())
			}
		})
		made.Credentials = aws.NewCredentialsCache(assumed)
	}
	c.places[at] = made
	return made, nil
}

// Admits says nil if Riposte acts in an account, and else why it doesn't.
func (c *Cloud) Admits(account string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admits(account)
}

// admits says nil if Riposte acts in an account; the caller holds the lock. It is of kind Denied where
// Riposte does not, of kind Transient while the organisation's accounts are not known.
func (c *Cloud) admits(account string) error {
	if account != c.self.Account {
		if c.options.RoleName() == "" {
			return fault.WithHint(fault.New(fault.Denied, "account %s is not Riposte's own (%s)", account, c.self.Account),
				"set aws.assume_role to the name of a role that Riposte may assume there")
		}
		if !IsAccount(account) {
			return fault.New(fault.Invalid, "aws: %.20q is no account: its id has 12 digits", account)
		}
		if err := c.options.Bounds(account); err != nil {
			return err
		}
	}
	switch {
	case c.organization != nil:
		return c.organization.admits(account)
	case c.options.Organization.Enabled:
		return fault.New(fault.Transient, "account %s: the organisation's accounts are not known yet", account)
	}
	return nil
}

// roleIn is the ARN of the role to assume in an account.
func (c *Cloud) roleIn(account string) string {
	return arn.ARN{Partition: c.self.Partition, Service: "iam", AccountID: account, Resource: "role/" + c.options.RoleName()}.String()
}

// Own gives the patterns of the principals that Riposte acts as. What they cause never starts a run.
func (c *Cloud) Own() []string {
	patterns := []string{c.self.ARN}
	if parsed, err := arn.Parse(c.self.ARN); err == nil && parsed.Service == "sts" {
		if role, ok := cutSession(parsed.Resource); ok {
			parsed.Resource = "assumed-role/" + role + "/*"
			patterns = append(patterns, parsed.String())
			patterns = append(patterns, "arn:"+parsed.Partition+":iam::"+parsed.AccountID+":role/*"+role)
		}
	}
	if name := c.options.RoleName(); name != "" {
		patterns = append(patterns,
			"arn:"+c.self.Partition+":sts::*:assumed-role/"+withoutPath(name)+"/"+sessionName,
			"arn:"+c.self.Partition+":iam::*:role/"+name)
	}
	return patterns
}

// instanceForm is an instance's id. A session of an instance's role is named by it.
var instanceForm = shaped(`^i-[0-9a-f]{8,17}$`)

// Stands lists what Riposte itself stands on at AWS, for protection: its principal, the instance that it runs
// on where its role is the instance's, and the role it assumes.
func (c *Cloud) Stands() []entity.Entity {
	var own []entity.Entity
	if parsed, err := arn.Parse(c.self.ARN); err == nil {
		if role, ok := cutSession(parsed.Resource); ok {
			own = append(own, entity.Entity{Kind: entity.Role, ID: role, Account: c.self.Account})
			if session := parsed.Resource[strings.LastIndexByte(parsed.Resource, '/')+1:]; instanceForm.MatchString(session) {
				own = append(own, entity.Entity{Kind: entity.Instance, ID: session, Account: c.self.Account})
			}
		}
		if user, ok := cutUser(parsed.Resource); ok {
			own = append(own, entity.Entity{Kind: entity.User, ID: user, Account: c.self.Account})
		}
	}
	if name := c.options.RoleName(); name != "" {
		own = append(own, entity.Entity{Kind: entity.Role, ID: withoutPath(name)})
	}
	return own
}

// client makes a service's client for a place.
func client[C any](c *Cloud, at action.Place, build func(aws.Config) C) (C, error) { //nolint:ireturn // C is a client
	made, err := c.at(at)
	if err != nil {
		var none C
		return none, err
	}
	return build(made), nil
}
