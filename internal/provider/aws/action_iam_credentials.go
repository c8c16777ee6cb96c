package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// userParam names the user whose credential it is.
func userParam() action.Param {
	return action.Param{Name: "user", Type: action.String, Required: true, Entity: entity.User, Doc: "name of the IAM user"}
}

// sparedUser checks the user that the parameters name.
func (c *Cloud) sparedUser(in action.Input) (string, error) {
	name := in.Params.String("user")
	if err := checkName("user", name); err != nil {
		return "", err
	}
	return name, c.spare(entity.User, name, c.here(in.Place).Account)
}

// password is a user's password for the console: what IAM calls a login profile.
type password struct {
	Exists  bool   `json:"exists"`
	Created string `json:"created,omitempty"`
}

// deleteLoginProfile makes aws.iam.delete_login_profile.
func deleteLoginProfile(c *Cloud) *final[password] {
	return &final[password]{placed[password]{cloud: c, Setting: action.Setting[password]{
		About: action.Spec{
			Name:    "aws.iam.delete_login_profile",
			Summary: "Delete an IAM user's password for the console",
			Doc: "Deletes the user's login profile: nobody can sign in to the console as the user any more. Access keys go on working " +
				"(`aws.iam.disable_access_key`), and so do sessions of the console that are open, for up to 12 hours " +
				"(`aws.iam.deny_user` stops both).\n\n" +
				"**It can't be undone**: nobody can read the password, so none can be put back. The user is given back by " +
				"issuing a new password, which a person must do and hand over. Riposte's own user and those named for " +
				"emergencies are refused.",
			Effect: action.Destroy,
			Params: []action.Param{userParam()},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allUsers, nil, "iam:GetUser", "iam:GetLoginProfile", "iam:ListAccessKeys", "iam:ListMFADevices"),
				permit(action.ApplyPhase, allUsers, nil, "iam:DeleteLoginProfile"),
			),
		},
		Target: c.holderTarget,
		Read:   c.readPassword,
		Want:   func(action.Input, password) (password, error) { return password{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to password) (password, error) {
			api, err := c.identity(in.Place)
			if err != nil {
				return password{}, err
			}
			name := in.Params.String("user")
			if _, err = api.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: aws.String(name)}); err != nil && !gone(err) {
				return password{}, fmt.Errorf("delete login profile of user %s: %w", name, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ password) []string {
			return []string{"iam:DeleteLoginProfile of user " + in.Params.String("user")}
		},
		Summary: func(in action.Input, _, _ password) string {
			return fmt.Sprintf("User %s has no password for the console", in.Params.String("user"))
		},
		Facts: c.passwordFacts,
	}}}
}

func (c *Cloud) readPassword(ctx context.Context, in action.Input) (password, error) {
	name, err := c.sparedUser(in)
	if err != nil {
		return password{}, err
	}
	api, err := c.identity(in.Place)
	if err != nil {
		return password{}, err
	}
	got, err := api.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: aws.String(name)})
	if gone(err) { // the password, or the user?
		_, err := c.user(ctx, in.Place, name)
		return password{}, err
	}
	if err != nil {
		return password{}, fmt.Errorf("read login profile of user %s: %w", name, classify(err))
	}
	return password{Exists: true, Created: moment(got.LoginProfile.CreateDate)}, nil
}

func (c *Cloud) passwordFacts(ctx context.Context, in action.Input, now password, plan *action.Change) error {
	if _, err := c.describeHolder(ctx, in, plan); err != nil || !now.Exists {
		return err
	}
	name := in.Params.String("user")
	keys, err := c.keysOf(ctx, in.Place, name)
	if err != nil {
		return err
	}
	devices, err := c.devicesOf(ctx, in.Place, name)
	if err != nil {
		return err
	}
	plan.Impact = append(plan.Impact,
		"the password can't be put back: a person must issue a new one to let the user in again",
		fmt.Sprintf("the user's %d access keys and open sessions of the console go on", len(keys)),
		fmt.Sprintf("the password is from %s; %d MFA devices are enrolled", now.Created, len(devices)))
	return nil
}

// ownedKey is a user's access key, as long as it is there.
type ownedKey struct {
	Exists  bool   `json:"exists"`
	User    string `json:"user,omitempty"`
	Created string `json:"created,omitempty"`
}

// destroyKey is aws.iam.delete_access_key.
type destroyKey struct {
	final[ownedKey]
}

func deleteAccessKey(c *Cloud) *destroyKey {
	return &destroyKey{final[ownedKey]{placed[ownedKey]{cloud: c, Setting: action.Setting[ownedKey]{
		About: deleteKeySpec(),
		Target: func(in action.Input) entity.Entity {
			return c.global(entity.AccessKey, in.Params.String("access_key_id"), in.Place)
		},
		Read: c.readOwnedKey,
		Want: func(in action.Input, now ownedKey) (ownedKey, error) {
			if !now.Exists {
				return now, fault.New(fault.NotFound, "there is no access key %s", in.Params.String("access_key_id"))
			}
			return ownedKey{}, nil
		},
		Write: func(ctx context.Context, in action.Input, from, to ownedKey) (ownedKey, error) {
			api, err := c.identity(in.Place)
			if err != nil {
				return ownedKey{}, err
			}
			id := in.Params.String("access_key_id")
			_, err = api.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: aws.String(id), UserName: aws.String(from.User)})
			if err != nil && !gone(err) {
				return ownedKey{}, fmt.Errorf("delete access key %s: %w", id, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, from, _ ownedKey) []string {
			return []string{fmt.Sprintf("iam:DeleteAccessKey %s of user %s", in.Params.String("access_key_id"), from.User)}
		},
		Summary: func(in action.Input, from, _ ownedKey) string {
			return fmt.Sprintf("Access key %s of user %s is deleted", in.Params.String("access_key_id"), from.User)
		},
		Facts: c.deleteKeyFacts,
	}}}}
}

func deleteKeySpec() action.Spec {
	return action.Spec{
		Name:    "aws.iam.delete_access_key",
		Summary: "Delete an IAM user's access key for good",
		Doc: "Deletes the key. `aws.iam.disable_access_key` contains just as well and can be undone: delete a key once it is certain " +
			"that nothing needs it. Temporary credentials that were made with the key, and roles assumed with it, go on until " +
			"they expire. Keys of the root user, of Riposte's own user and of users named for emergencies are refused.\n\n" +
			"**It can't be undone**: whatever used the key needs a new one.",
		Effect: action.Destroy,
		Params: []action.Param{keyParam(), {
			Name: "user", Type: action.String, Entity: entity.User, Doc: "whose key it is; looked up if absent, checked if given",
		}},
		Permissions: slices.Concat(ownerPermissions(),
			permit(action.PlanPhase, allUsers, nil, "iam:GetUser"),
			permit(action.ApplyPhase, allUsers, nil, "iam:DeleteAccessKey")),
	}
}

// Plan notes whose the key is: once it is gone nobody can tell.
func (d *destroyKey) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	plan, err := d.final.Plan(ctx, in)
	if err != nil {
		return plan, err
	}
	params := maps.Clone(in.Params)
	params["user"] = plan.Touches[0].ID
	if plan.Params, err = json.Marshal(params); err != nil {
		return action.Change{}, fmt.Errorf("encode parameters: %w", err)
	}
	return plan, nil
}

func (c *Cloud) readOwnedKey(ctx context.Context, in action.Input) (ownedKey, error) {
	given := in.Params.String("user")
	facts, err := c.key(ctx, in.Place, in.Params.String("access_key_id"), given)
	if given != "" && fault.Is(err, fault.NotFound) {
		_, err := c.user(ctx, in.Place, given) // of a user that isn't there nothing is known
		return ownedKey{}, err
	}
	if err != nil {
		return ownedKey{}, err
	}
	if facts.Root {
		return ownedKey{}, fault.WithHint(fault.New(fault.Invalid, "access key %s is the root user's: IAM can't delete it", facts.ID),
			"sign in as the root user of the account and delete it")
	}
	return ownedKey{Exists: true, User: facts.User, Created: facts.Created}, c.spare(entity.User, facts.User, c.here(in.Place).Account)
}

func (c *Cloud) deleteKeyFacts(ctx context.Context, in action.Input, now ownedKey, plan *action.Change) error {
	user, err := c.user(ctx, in.Place, now.User)
	if err != nil {
		return err
	}
	owner := c.global(entity.User, now.User, in.Place)
	owner.ARN = aws.ToString(user.Arn)
	plan.Tags, plan.Touches = iamTags(user.Tags), []entity.Entity{owner}
	used := &keyFacts{ID: in.Params.String("access_key_id")}
	if err := c.findOwner(ctx, in.Place, used); err != nil {
		return err
	}
	plan.Impact = []string{"the key can't be put back: whatever uses it needs a new one", "the key is from " + now.Created}
	if used.LastUsed == "" {
		plan.Impact = append(plan.Impact, "IAM knows of no use of the key")
	} else {
		plan.Impact = append(plan.Impact, fmt.Sprintf("last used %s with %s in %s", used.LastUsed, used.LastService, used.LastRegion))
	}
	return nil
}

// serviceCredential is a credential of a user's for one service, such as Bedrock, CodeCommit or Keyspaces.
type serviceCredential struct {
	Service string `json:"service"`
	Status  string `json:"status"` // Active, Inactive or Expired
}

var credentialID = shaped(`^\w{20,128}$`)

// disableServiceCredential makes aws.iam.disable_service_credential.
func disableServiceCredential(c *Cloud) *among[serviceCredential] {
	a := &among[serviceCredential]{placed: placed[serviceCredential]{cloud: c}, census: c.countHolders(types.SummaryKeyTypeUsers)}
	id := func(in action.Input) string { return in.Params.String("credential_id") }
	a.Setting = action.Setting[serviceCredential]{
		About: action.Spec{
			Name:    "aws.iam.disable_service_credential",
			Summary: "Make an IAM user's credential for one service inactive",
			Doc: "Sets a service-specific credential to inactive, such as a long-term API key of Amazon Bedrock or a password of " +
				"CodeCommit: the service refuses it. The user's access keys, password and other credentials go on. " +
				"Riposte's own user and those named for emergencies are refused. Undo sets the status that it had.",
			Effect: action.Contain,
			Params: []action.Param{userParam(), {
				Name: "credential_id", Type: action.String, Required: true, Doc: "id of the service-specific credential (ACCA...)",
			}},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allUsers, nil, "iam:GetUser", "iam:ListServiceSpecificCredentials"),
				permit(action.PlanPhase, "*", nil, "iam:GetAccountSummary"),
				permit(action.ApplyPhase, allUsers, nil, "iam:UpdateServiceSpecificCredential"),
				permit(action.UndoPhase, allUsers, nil, "iam:UpdateServiceSpecificCredential"),
			),
		},
		Target: func(in action.Input) entity.Entity { return c.global(entity.Resource, id(in), in.Place) },
		Read:   c.readCredential,
		Want: func(_ action.Input, now serviceCredential) (serviceCredential, error) {
			if now.Status == string(types.StatusTypeActive) { // one that has expired is as good
				now.Status = string(types.StatusTypeInactive)
			}
			return now, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to serviceCredential) (serviceCredential, error) {
			api, err := c.identity(in.Place)
			if err != nil {
				return serviceCredential{}, err
			}
			_, err = api.UpdateServiceSpecificCredential(ctx, &iam.UpdateServiceSpecificCredentialInput{
				UserName: aws.String(in.Params.String("user")), ServiceSpecificCredentialId: aws.String(id(in)), Status: types.StatusType(to.Status),
			})
			if err != nil {
				return serviceCredential{}, fmt.Errorf("set credential %s to %s: %w", id(in), to.Status, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, to serviceCredential) []string {
			return []string{fmt.Sprintf("iam:UpdateServiceSpecificCredential %s of user %s to %s", id(in), in.Params.String("user"), to.Status)}
		},
		Summary: func(in action.Input, from, to serviceCredential) string {
			return fmt.Sprintf("Credential %s of user %s for %s: %s → %s", id(in), in.Params.String("user"), to.Service, from.Status, to.Status)
		},
		Facts: func(ctx context.Context, in action.Input, now serviceCredential, plan *action.Change) error {
			user, err := c.user(ctx, in.Place, in.Params.String("user"))
			if err != nil {
				return err
			}
			owner := c.global(entity.User, in.Params.String("user"), in.Place)
			owner.ARN = aws.ToString(user.Arn)
			plan.Tags, plan.Touches = iamTags(user.Tags), []entity.Entity{owner}
			plan.Impact = []string{"whatever uses the credential with " + now.Service + " stops working until it has another"}
			return nil
		},
	}
	return a
}

func (c *Cloud) readCredential(ctx context.Context, in action.Input) (serviceCredential, error) {
	name, err := c.sparedUser(in)
	if err != nil {
		return serviceCredential{}, err
	}
	id := in.Params.String("credential_id")
	if !credentialID.MatchString(id) {
		return serviceCredential{}, fault.New(fault.Invalid, "%q is not the id of a service-specific credential", shorten(id))
	}
	api, err := c.identity(in.Place)
	if err != nil {
		return serviceCredential{}, err
	}
	ask := &iam.ListServiceSpecificCredentialsInput{UserName: aws.String(name)}
	for {
		page, err := api.ListServiceSpecificCredentials(ctx, ask)
		if err != nil {
			return serviceCredential{}, fmt.Errorf("list service-specific credentials of user %s: %w", name, classify(err))
		}
		for _, one := range page.ServiceSpecificCredentials {
			if aws.ToString(one.ServiceSpecificCredentialId) == id {
				return serviceCredential{Service: aws.ToString(one.ServiceName), Status: string(one.Status)}, nil
			}
		}
		if !page.IsTruncated {
			return serviceCredential{}, fault.New(fault.NotFound, "user %s has no service-specific credential %s", name, id)
		}
		ask.Marker = page.Marker
	}
}

// enrolled is whether an MFA device is a user's.
type enrolled struct {
	Exists bool   `json:"exists"`
	Since  string `json:"since,omitempty"`
}

var deviceSerial = shaped(`^[\w+=/:,.@-]{9,256}$`)

// devicesOf lists a user's MFA devices.
func (c *Cloud) devicesOf(ctx context.Context, at action.Place, user string) ([]types.MFADevice, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	var devices []types.MFADevice
	pages := iam.NewListMFADevicesPaginator(api, &iam.ListMFADevicesInput{UserName: aws.String(user)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list MFA devices of user %s: %w", user, classify(err))
		}
		devices = append(devices, page.MFADevices...)
	}
	return devices, nil
}

// deactivateMFADevice makes aws.iam.deactivate_mfa_device.
func deactivateMFADevice(c *Cloud) *final[enrolled] {
	serial := func(in action.Input) string { return in.Params.String("serial_number") }
	return &final[enrolled]{placed[enrolled]{cloud: c, Setting: action.Setting[enrolled]{
		About: action.Spec{
			Name:    "aws.iam.deactivate_mfa_device",
			Summary: "Take an MFA device away from an IAM user",
			Doc: "Deactivates a device that somebody else enrolled in order to stay in: codes of it count no more. Where it was the " +
				"user's only one, the user signs in **without a second factor** from then on, so disable the password or deny " +
				"the user as well. Sessions that were opened with the device go on.\n\n" +
				"**It can't be undone**: a device is enrolled anew by whoever holds it. Riposte's own user and those named for " +
				"emergencies are refused.",
			Effect: action.Destroy,
			Params: []action.Param{userParam(), {
				Name: "serial_number", Type: action.String, Required: true, Entity: entity.MFADevice, Doc: "serial number of the device, or ARN of a virtual one",
			}},
			Permissions: slices.Concat(
				permit(action.PlanPhase, allUsers, nil, "iam:GetUser", "iam:ListMFADevices"),
				permit(action.ApplyPhase, allUsers, nil, "iam:DeactivateMFADevice"),
			),
		},
		Target: func(in action.Input) entity.Entity { return c.global(entity.MFADevice, serial(in), in.Place) },
		Read: func(ctx context.Context, in action.Input) (enrolled, error) {
			name, err := c.sparedUser(in)
			if err != nil {
				return enrolled{}, err
			}
			if !deviceSerial.MatchString(serial(in)) {
				return enrolled{}, fault.New(fault.Invalid, "%q is not the serial number of an MFA device", shorten(serial(in)))
			}
			devices, err := c.devicesOf(ctx, in.Place, name)
			if err != nil {
				return enrolled{}, err
			}
			for _, device := range devices {
				if aws.ToString(device.SerialNumber) == serial(in) {
					return enrolled{Exists: true, Since: moment(device.EnableDate)}, nil
				}
			}
			return enrolled{}, nil
		},
		Want: func(in action.Input, now enrolled) (enrolled, error) {
			if !now.Exists {
				return now, fault.New(fault.NotFound, "user %s has no MFA device %s", in.Params.String("user"), serial(in))
			}
			return enrolled{}, nil
		},
		Write: func(ctx context.Context, in action.Input, _, to enrolled) (enrolled, error) {
			api, err := c.identity(in.Place)
			if err != nil {
				return enrolled{}, err
			}
			_, err = api.DeactivateMFADevice(ctx, &iam.DeactivateMFADeviceInput{
				UserName: aws.String(in.Params.String("user")), SerialNumber: aws.String(serial(in)),
			})
			if err != nil && !gone(err) {
				return enrolled{}, fmt.Errorf("deactivate MFA device %s: %w", serial(in), classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ enrolled) []string {
			return []string{fmt.Sprintf("iam:DeactivateMFADevice %s of user %s", serial(in), in.Params.String("user"))}
		},
		Summary: func(in action.Input, _, _ enrolled) string {
			return fmt.Sprintf("MFA device %s is not user %s's any more", serial(in), in.Params.String("user"))
		},
		Facts: func(ctx context.Context, in action.Input, now enrolled, plan *action.Change) error {
			name := in.Params.String("user")
			user, err := c.user(ctx, in.Place, name)
			if err != nil {
				return err
			}
			devices, err := c.devicesOf(ctx, in.Place, name)
			if err != nil {
				return err
			}
			owner := c.global(entity.User, name, in.Place)
			owner.ARN = aws.ToString(user.Arn)
			plan.Tags, plan.Touches = iamTags(user.Tags), []entity.Entity{owner}
			plan.Impact = []string{"the device is enrolled since " + now.Since + "; only who holds it can enrol it again"}
			if len(devices) == 1 {
				plan.Impact = append(plan.Impact, "it is the user's only one: the password alone lets in from then on")
			}
			return nil
		},
	}}}
}
