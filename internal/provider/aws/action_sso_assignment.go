package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssoadmin"
	"github.com/aws/aws-sdk-go-v2/service/ssoadmin/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	permissionSetForm = shaped(`^arn:[a-z-]+:sso:::permissionSet/(ssoins-[0-9a-f]{16})/ps-[0-9a-f]{16}$`)
	principalIDForm   = shaped(`^([0-9a-f]{10}-)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// identityCenter is a client of IAM Identity Center, in Riposte's home account: that must be the
// organization's management account, or the one to which Identity Center is delegated.
type identityCenter struct {
	api           *ssoadmin.Client
	instance      *string // ARN
	permissionSet *string // ARN
}

// center reaches the instance that a permission set belongs to.
func (c *Cloud) center(in action.Input) (identityCenter, error) {
	permissionSet := in.Params.String("permission_set")
	form := permissionSetForm.FindStringSubmatch(permissionSet)
	if form == nil {
		return identityCenter{}, fault.New(fault.Invalid, "%q is not the ARN of a permission set", shorten(permissionSet))
	}
	api, err := client(c, action.Place{Account: c.self.Account, Region: in.Params.String("identity_center_region")},
		func(made aws.Config) *ssoadmin.Client { return ssoadmin.NewFromConfig(made) })
	return identityCenter{
		api: api, permissionSet: aws.String(permissionSet), instance: aws.String("arn:" + c.self.Partition + ":sso:::instance/" + form[1]),
	}, err
}

// centerParams name a permission set and where its Identity Center is.
func centerParams() []action.Param {
	return []action.Param{
		{Name: "permission_set", Type: action.String, Required: true, Entity: entity.Resource, Doc: "ARN of the permission set"},
		{Name: "identity_center_region", Type: action.String, Doc: "region of IAM Identity Center; Riposte's home region if absent"},
	}
}

// The resources of Identity Center, for permissions.
const (
	allInstances      = "arn:{partition}:sso:::instance/*"
	allPermissionSets = "arn:{partition}:sso:::permissionSet/*/*"
	allSSOAccounts    = "arn:{partition}:sso:::account/*"
)

// onAssignments are permissions that Identity Center checks on instance, permission set and account alike.
func onAssignments(phase action.Phase, names ...string) []action.Permission {
	return slices.Concat(permit(phase, allInstances, nil, names...), permit(phase, allPermissionSets, nil, names...), permit(phase, allSSOAccounts, nil, names...))
}

// assigned is whether a user or a group has a permission set in an account.
type assigned struct {
	Assigned bool `json:"assigned"`
}

// targetAccount is the account that the parameters name, else that of the place.
func (c *Cloud) targetAccount(in action.Input) string {
	if given := in.Params.String("account_id"); given != "" {
		return given
	}
	return c.here(in.Place).Account
}

// remote is a setting of one account that is made from Riposte's home account: its place is the account that
// it changes, for limits and freezes.
type remote[S any] struct {
	placed[S]
}

// Plan completes the place.
func (r *remote[S]) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	in.Place = r.cloud.here(in.Place)
	in.Account = r.cloud.targetAccount(in)
	return r.placed.Plan(ctx, in)
}

// revokeAssignment makes aws.sso.revoke_assignment.
func revokeAssignment(c *Cloud) *remote[assigned] {
	who := func(in action.Input) string {
		return strings.ToLower(in.Params.String("principal_type")) + " " + in.Params.String("principal_id")
	}
	return &remote[assigned]{placed[assigned]{cloud: c, Setting: action.Setting[assigned]{
		About: revokeAssignmentSpec(),
		Target: func(in action.Input) entity.Entity {
			e := c.global(entity.Resource, in.Params.String("permission_set")+" of "+who(in), in.Place)
			e.Account = c.targetAccount(in)
			return e
		},
		Read:  c.readAssignment,
		Want:  func(action.Input, assigned) (assigned, error) { return assigned{}, nil },
		Write: c.writeAssignment,
		Calls: func(in action.Input, _, _ assigned) []string {
			return []string{fmt.Sprintf("sso:DeleteAccountAssignment %s of %s in account %s",
				in.Params.String("permission_set"), who(in), c.targetAccount(in))}
		},
		Summary: func(in action.Input, _, _ assigned) string {
			return fmt.Sprintf("%s of IAM Identity Center has permission set %s in account %s no more",
				capital(who(in)), in.Params.String("permission_set"), c.targetAccount(in))
		},
		Facts: c.assignmentFacts,
	}}}
}

func revokeAssignmentSpec() action.Spec {
	return action.Spec{
		Name:    "aws.sso.revoke_assignment",
		Summary: "Take a permission set in an account from a user or group of IAM Identity Center",
		Doc: "Deletes the account assignment and waits until IAM Identity Center says that it is deleted. Nobody opens a session by " +
			"it any more. Assignments of other permission sets, in other accounts, and those that a user has through another " +
			"group stay.\n\n" +
			"**Sessions that are open go on** until they expire, for as long as the permission set says: end them in IAM Identity " +
			"Center, or contain what they made. Riposte's home account must be the organization's " +
			"management account or the one to which Identity Center is delegated; a delegated account can't change assignments " +
			"in the management account. A permission set named for emergencies, and the one that Riposte itself works with, are " +
			"refused.\n\nUndo makes the assignment again and waits until it is there.",
		Effect: action.Contain, Timeout: 3 * time.Minute,
		Params: append(centerParams(),
			action.Param{Name: "principal_type", Type: action.String, Required: true, Enum: []string{"USER", "GROUP"}, Doc: "whether it is a user or a group"},
			action.Param{Name: "principal_id", Type: action.String, Required: true, Doc: "id of the user or group in the identity store"},
			action.Param{Name: "account_id", Type: action.String, Entity: entity.Account, Doc: "account in which it is assigned; the step's if absent"},
		),
		Permissions: slices.Concat(
			onAssignments(action.PlanPhase, "sso:ListAccountAssignments"),
			permit(action.PlanPhase, allInstances, nil, "sso:DescribePermissionSet"),
			permit(action.PlanPhase, allPermissionSets, nil, "sso:DescribePermissionSet"),
			onAssignments(action.ApplyPhase, "sso:DeleteAccountAssignment"),
			permit(action.ApplyPhase, allInstances, nil, "sso:DescribeAccountAssignmentDeletionStatus"),
			onAssignments(action.UndoPhase, "sso:CreateAccountAssignment"),
			permit(action.UndoPhase, allInstances, nil, "sso:DescribeAccountAssignmentCreationStatus"),
		),
	}
}

func (c *Cloud) readAssignment(ctx context.Context, in action.Input) (assigned, error) {
	center, err := c.center(in)
	if err != nil {
		return assigned{}, err
	}
	account, id := c.targetAccount(in), in.Params.String("principal_id")
	if !IsAccount(account) {
		return assigned{}, fault.New(fault.Invalid, "account_id: %q is no account: its id has 12 digits", shorten(account))
	}
	if !principalIDForm.MatchString(id) {
		return assigned{}, fault.New(fault.Invalid, "principal_id: %q is not the id of a user or group", shorten(id))
	}
	pages := ssoadmin.NewListAccountAssignmentsPaginator(center.api, &ssoadmin.ListAccountAssignmentsInput{
		InstanceArn: center.instance, PermissionSetArn: center.permissionSet, AccountId: aws.String(account),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return assigned{}, fmt.Errorf("list assignments in account %s: %w", account, classify(err))
		}
		for _, one := range page.AccountAssignments {
			if aws.ToString(one.PrincipalId) == id && string(one.PrincipalType) == in.Params.String("principal_type") {
				return assigned{Assigned: true}, nil
			}
		}
	}
	return assigned{}, nil
}

func (c *Cloud) writeAssignment(ctx context.Context, in action.Input, _, to assigned) (assigned, error) {
	center, err := c.center(in)
	if err != nil {
		return assigned{}, err
	}
	account, id := aws.String(c.targetAccount(in)), aws.String(in.Params.String("principal_id"))
	kind := types.PrincipalType(in.Params.String("principal_type"))
	var begun *types.AccountAssignmentOperationStatus
	if to.Assigned {
		got, err := center.api.CreateAccountAssignment(ctx, &ssoadmin.CreateAccountAssignmentInput{
			InstanceArn: center.instance, PermissionSetArn: center.permissionSet, PrincipalId: id, PrincipalType: kind,
			TargetId: account, TargetType: types.TargetTypeAwsAccount,
		})
		if err != nil {
			return assigned{}, fmt.Errorf("assign permission set in account %s: %w", *account, classify(err))
		}
		begun = got.AccountAssignmentCreationStatus
	} else {
		got, err := center.api.DeleteAccountAssignment(ctx, &ssoadmin.DeleteAccountAssignmentInput{
			InstanceArn: center.instance, PermissionSetArn: center.permissionSet, PrincipalId: id, PrincipalType: kind,
			TargetId: account, TargetType: types.TargetTypeAwsAccount,
		})
		if err != nil {
			return assigned{}, fmt.Errorf("delete assignment in account %s: %w", *account, classify(err))
		}
		begun = got.AccountAssignmentDeletionStatus
	}
	return to, center.finished(ctx, begun, to.Assigned)
}

// finished waits until what Identity Center has begun is over. It is an error where that failed.
func (center identityCenter) finished(ctx context.Context, begun *types.AccountAssignmentOperationStatus, making bool) error {
	return polled(ctx, "IAM Identity Center changes the assignment", func() (bool, error) {
		switch begun.Status {
		case types.StatusValuesSucceeded:
			return true, nil
		case types.StatusValuesFailed:
			return false, fault.New(fault.Conflict, "IAM Identity Center could not change the assignment: %s", shorten(aws.ToString(begun.FailureReason)))
		case types.StatusValuesInProgress:
		}
		if making {
			got, err := center.api.DescribeAccountAssignmentCreationStatus(ctx, &ssoadmin.DescribeAccountAssignmentCreationStatusInput{
				InstanceArn: center.instance, AccountAssignmentCreationRequestId: begun.RequestId,
			})
			if err != nil {
				return false, fmt.Errorf("ask whether the assignment is made: %w", classify(err))
			}
			begun = got.AccountAssignmentCreationStatus
			return begun.Status == types.StatusValuesSucceeded, nil
		}
		got, err := center.api.DescribeAccountAssignmentDeletionStatus(ctx, &ssoadmin.DescribeAccountAssignmentDeletionStatusInput{
			InstanceArn: center.instance, AccountAssignmentDeletionRequestId: begun.RequestId,
		})
		if err != nil {
			return false, fmt.Errorf("ask whether the assignment is deleted: %w", classify(err))
		}
		begun = got.AccountAssignmentDeletionStatus
		return begun.Status == types.StatusValuesSucceeded, nil
	})
}

// polled looks again and again, at growing intervals, until something that goes on elsewhere is over. Where the
// context ends before, the error is Transient and says what goes on.
func polled(ctx context.Context, what string, over func() (bool, error)) error {
	const first, longest = 200 * time.Millisecond, 3 * time.Second
	for pause := first; ; pause = min(2*pause, longest) {
		if done, err := over(); done || err != nil {
			return err
		}
		if !sleep(ctx, pause) {
			return fault.New(fault.Transient, "%s, still", what)
		}
	}
}

func (c *Cloud) assignmentFacts(ctx context.Context, in action.Input, now assigned, plan *action.Change) error {
	center, err := c.center(in)
	if err != nil {
		return err
	}
	set, err := c.permissionSet(ctx, center)
	if err != nil {
		return err
	}
	if !now.Assigned {
		return nil
	}
	plan.Impact = []string{fmt.Sprintf("sessions of permission set %s that are open go on for up to %s (ISO 8601)",
		shorten(aws.ToString(set.Name)), aws.ToString(set.SessionDuration))}
	if in.Params.String("principal_type") == string(types.PrincipalTypeGroup) {
		plan.Impact = append(plan.Impact, "every member of the group loses it")
	} else {
		plan.Impact = append(plan.Impact, "where a group of the user has the permission set as well, the user keeps it")
	}
	return nil
}

// permissionSet reads a permission set, and refuses those that must stay.
func (c *Cloud) permissionSet(ctx context.Context, center identityCenter) (*types.PermissionSet, error) {
	got, err := center.api.DescribePermissionSet(ctx, &ssoadmin.DescribePermissionSetInput{
		InstanceArn: center.instance, PermissionSetArn: center.permissionSet,
	})
	if err != nil {
		return nil, fmt.Errorf("read permission set %s: %w", *center.permissionSet, classify(err))
	}
	name := aws.ToString(got.PermissionSet.Name)
	switch {
	case emergency.MatchString(name):
		return nil, fault.New(fault.Denied, "permission set %s is kept for emergencies, by its name", name)
	case strings.Contains(c.self.ARN, ":assumed-role/AWSReservedSSO_"+name+"_"):
		return nil, fault.New(fault.Denied, "permission set %s is the one that Riposte itself works with", name)
	}
	return got.PermissionSet, nil
}
