package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// passwordPolicy is what an account asks of its users' passwords.
type passwordPolicy struct {
	Configured     bool  `json:"configured"` // false: IAM's default
	MinimumLength  int32 `json:"minimum_length,omitempty"`
	Lowercase      bool  `json:"lowercase,omitempty"`
	Uppercase      bool  `json:"uppercase,omitempty"`
	Numbers        bool  `json:"numbers,omitempty"`
	Symbols        bool  `json:"symbols,omitempty"`
	UsersMayChange bool  `json:"users_may_change,omitempty"`
	MaximumAge     int32 `json:"maximum_age_days,omitempty"` // 0: for ever
	Remembered     int32 `json:"remembered,omitempty"`       // how many former passwords are refused
	HardExpiry     bool  `json:"hard_expiry,omitempty"`      // who let it expire must be let in by an administrator
}

// setPasswordPolicy makes aws.iam.set_password_policy.
func setPasswordPolicy(c *Cloud) *placed[passwordPolicy] {
	return &placed[passwordPolicy]{cloud: c, Setting: action.Setting[passwordPolicy]{
		About: action.Spec{
			Name:    "aws.iam.set_password_policy",
			Summary: "Strengthen what an account asks of passwords",
			Doc: "Raises the account's password policy to a minimum length, small and capital letters, digits, symbols, and former " +
				"passwords that are refused. What is stricter already stays, and so do the age at which passwords expire and " +
				"whether users may change theirs. Passwords that exist go on working: the policy counts when one is changed.\n\n" +
				"Undo puts the saved policy back, or removes it where IAM's default was in force.",
			Effect: action.Contain,
			Params: []action.Param{
				{Name: "minimum_length", Type: action.Int, Default: int64(14), Doc: "shortest password, 8 to 128"},
				{Name: "remembered", Type: action.Int, Default: int64(24), Doc: "how many former passwords are refused, 1 to 24"},
			},
			Permissions: slices.Concat(
				permit(action.PlanPhase, "*", nil, "iam:GetAccountPasswordPolicy", "iam:GetAccountSummary"),
				permit(action.ApplyPhase, "*", nil, "iam:UpdateAccountPasswordPolicy"),
				permit(action.UndoPhase, "*", nil, "iam:UpdateAccountPasswordPolicy", "iam:DeleteAccountPasswordPolicy"),
			),
		},
		Target: func(in action.Input) entity.Entity {
			return c.global(entity.Account, c.here(in.Place).Account, in.Place)
		},
		Read:  c.readPasswordPolicy,
		Want:  strictest,
		Write: c.writePasswordPolicy,
		Calls: func(action.Input, passwordPolicy, passwordPolicy) []string {
			return []string{"iam:UpdateAccountPasswordPolicy"}
		},
		Summary: func(in action.Input, _, to passwordPolicy) string {
			return fmt.Sprintf("Passwords of account %s have at least %d characters of all kinds, and none of the last %d is taken again",
				c.here(in.Place).Account, to.MinimumLength, to.Remembered)
		},
		Facts: func(ctx context.Context, in action.Input, _ passwordPolicy, plan *action.Change) error {
			users, err := c.population(ctx, in.Place, types.SummaryKeyTypeUsers)
			if err != nil {
				return err
			}
			plan.Impact = []string{fmt.Sprintf("it counts for the account's %d users when they change their passwords; nobody is locked out", users)}
			return nil
		},
	}}
}

// strictest is a policy that asks for what the parameters ask, and for no less than now.
func strictest(in action.Input, now passwordPolicy) (passwordPolicy, error) {
	length, remembered := in.Params.Int("minimum_length"), in.Params.Int("remembered")
	if length < 8 || length > 128 {
		return now, fault.New(fault.Invalid, "minimum_length: %d is not from 8 to 128", length)
	}
	if remembered < 1 || remembered > 24 {
		return now, fault.New(fault.Invalid, "remembered: %d is not from 1 to 24", remembered)
	}
	now.Configured = true
	now.MinimumLength, now.Remembered = max(now.MinimumLength, int32(length)), max(now.Remembered, int32(remembered))
	now.Lowercase, now.Uppercase, now.Numbers, now.Symbols = true, true, true, true
	return now, nil
}

func (c *Cloud) readPasswordPolicy(ctx context.Context, in action.Input) (passwordPolicy, error) {
	api, err := c.identity(in.Place)
	if err != nil {
		return passwordPolicy{}, err
	}
	got, err := api.GetAccountPasswordPolicy(ctx, &iam.GetAccountPasswordPolicyInput{})
	if gone(err) {
		return passwordPolicy{}, nil
	}
	if err != nil {
		return passwordPolicy{}, fmt.Errorf("read password policy: %w", classify(err))
	}
	p := got.PasswordPolicy
	return passwordPolicy{
		Configured: true, MinimumLength: aws.ToInt32(p.MinimumPasswordLength), Lowercase: p.RequireLowercaseCharacters,
		Uppercase: p.RequireUppercaseCharacters, Numbers: p.RequireNumbers, Symbols: p.RequireSymbols,
		UsersMayChange: p.AllowUsersToChangePassword, MaximumAge: aws.ToInt32(p.MaxPasswordAge),
		Remembered: aws.ToInt32(p.PasswordReusePrevention), HardExpiry: aws.ToBool(p.HardExpiry),
	}, nil
}

func (c *Cloud) writePasswordPolicy(ctx context.Context, in action.Input, _, to passwordPolicy) (passwordPolicy, error) {
	api, err := c.identity(in.Place)
	if err != nil {
		return passwordPolicy{}, err
	}
	if !to.Configured {
		if _, err := api.DeleteAccountPasswordPolicy(ctx, &iam.DeleteAccountPasswordPolicyInput{}); err != nil && !gone(err) {
			return passwordPolicy{}, fmt.Errorf("delete password policy: %w", classify(err))
		}
		return to, nil
	}
	update := &iam.UpdateAccountPasswordPolicyInput{
		MinimumPasswordLength: aws.Int32(to.MinimumLength), RequireLowercaseCharacters: to.Lowercase,
		RequireUppercaseCharacters: to.Uppercase, RequireNumbers: to.Numbers, RequireSymbols: to.Symbols,
		AllowUsersToChangePassword: to.UsersMayChange,
	}
	if to.MaximumAge > 0 { // IAM takes no zero for what isn't set
		update.MaxPasswordAge, update.HardExpiry = aws.Int32(to.MaximumAge), aws.Bool(to.HardExpiry)
	}
	if to.Remembered > 0 {
		update.PasswordReusePrevention = aws.Int32(to.Remembered)
	}
	if _, err := api.UpdateAccountPasswordPolicy(ctx, update); err != nil {
		return passwordPolicy{}, fmt.Errorf("write password policy: %w", classify(err))
	}
	return to, nil
}
