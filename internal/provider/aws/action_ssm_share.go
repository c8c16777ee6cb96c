package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	sharedDocumentForm = shaped(`^[A-Za-z0-9_.-]{3,128}$`)
	sessionForm        = shaped(`^[A-Za-z0-9][A-Za-z0-9_.,=@+-]{0,95}$`)
)

func documentNaming() naming {
	return naming{what: "SSM document", param: "document", kind: entity.Document, service: "ssm", prefix: "document/", form: sharedDocumentForm}
}

// documentShares are the accounts a document is shared with, each with the version that it is shared in. "all" is everybody.
type documentShares struct {
	Accounts map[string]string `json:"accounts"`

	about *types.DocumentDescription
}

// mostAtOnce is how many accounts one call of ModifyDocumentPermission takes.
const mostAtOnce = 20

// unshareDocument makes aws.ssm.unshare_document.
func unshareDocument(c *Cloud) *placed[documentShares] {
	return setting(c, action.Setting[documentShares]{
		About:  unshareDocumentSpec(),
		Target: documentNaming().target(c),
		Read:   c.readDocumentShares,
		Want: func(in action.Input, now documentShares) (documentShares, error) {
			accounts := slices.Sorted(maps.Keys(now.Accounts))
			kept, err := wantWithdrawn(in, sharedWith{Accounts: accounts})
			want := documentShares{Accounts: map[string]string{}}
			for _, account := range kept.Accounts {
				want.Accounts[account] = now.Accounts[account]
			}
			return want, err
		},
		Write: c.writeDocumentShares,
		Calls: func(in action.Input, from, to documentShares) []string {
			return []string{"ssm:ModifyDocumentPermission " + in.Params.String("document") + ", remove " + strings.Join(from.without(to), ", ")}
		},
		Summary: func(in action.Input, from, to documentShares) string {
			return fmt.Sprintf("SSM document %s is no longer shared with %s", in.Params.String("document"), inOneLine(from.without(to)))
		},
		// Twenty accounts a call.
		Between: func(from, now, to documentShares) bool {
			return len(now.without(from.and(to))) == 0 && len(from.common(to).without(now)) == 0
		},
		Facts: func(_ context.Context, _ action.Input, now documentShares, c *action.Change) error {
			c.Tags = tagMap(now.about.Tags, func(t types.Tag) (key, value *string) { return t.Key, t.Value })
			c.Impact = []string{
				"whoever has copied it keeps the copy; what stands in it, such as a password, is known to them",
				"accounts that run it on purpose can't any more",
			}
			return nil
		},
	})
}

// without lists the accounts, sorted, that another lacks or has in another version.
func (d documentShares) without(other documentShares) []string {
	var found []string
	for account, version := range d.Accounts {
		if given, there := other.Accounts[account]; !there || given != version {
			found = append(found, account)
		}
	}
	slices.Sort(found)
	return found
}

func (d documentShares) and(other documentShares) documentShares {
	both := maps.Clone(d.Accounts)
	maps.Copy(both, other.Accounts)
	return documentShares{Accounts: both}
}

func (d documentShares) common(other documentShares) documentShares {
	both := maps.Clone(d.Accounts)
	maps.DeleteFunc(both, func(account, version string) bool { return other.Accounts[account] != version })
	return documentShares{Accounts: both}
}

func unshareDocumentSpec() action.Spec {
	all := documentNaming().all()
	return action.Spec{
		Name:    "aws.ssm.unshare_document",
		Summary: "Stop sharing a Systems Manager document with everybody and with other accounts",
		Doc: "Removes everybody (`all`) and every account but those of `keep` from those who may read and run the document. Copies that others have " +
			"made stay theirs. The document must belong to the step's account. That new ones are shared is prevented by the account's " +
			"setting, which this leaves.\n\n**Undo shares it again** with exactly those it was shared with, the public too.",
		Effect: action.Contain,
		Params: []action.Param{
			documentNaming().takes(), {Name: "keep", Type: action.Strings, Doc: "accounts that it stays shared with"},
		},
		Permissions: slices.Concat(
			reads(all, "ssm:DescribeDocument", "ssm:DescribeDocumentPermission"),
			writes(all, "ssm:ModifyDocumentPermission"), undoes(all, "ssm:ModifyDocumentPermission"),
		),
	}
}

func (c *Cloud) readDocumentShares(ctx context.Context, in action.Input) (documentShares, error) {
	name, at, err := documentNaming().find(c, in)
	if err != nil {
		return documentShares{}, err
	}
	api, err := service(c, at, ssm.NewFromConfig)
	if err != nil {
		return documentShares{}, err
	}
	got, err := api.DescribeDocument(ctx, &ssm.DescribeDocumentInput{Name: aws.String(name)})
	if coded(err, "InvalidDocument") {
		return documentShares{}, fault.New(fault.NotFound, "there is no document %s", name)
	}
	if err != nil {
		return documentShares{}, fmt.Errorf("read document %s: %w", name, classify(err))
	}
	if owner := aws.ToString(got.Document.Owner); owner != at.Account {
		return documentShares{}, foreign("SSM document", name, at.Account)
	}
	state := documentShares{Accounts: map[string]string{}, about: got.Document}
	ask := &ssm.DescribeDocumentPermissionInput{Name: aws.String(name), PermissionType: types.DocumentPermissionTypeShare}
	for {
		page, err := api.DescribeDocumentPermission(ctx, ask)
		if err != nil {
			return documentShares{}, fmt.Errorf("read who document %s is shared with: %w", name, classify(err))
		}
		for _, account := range page.AccountIds {
			state.Accounts[account] = ""
		}
		for _, share := range page.AccountSharingInfoList {
			if account := aws.ToString(share.AccountId); account != "" {
				state.Accounts[account] = aws.ToString(share.SharedDocumentVersion)
			}
		}
		if ask.NextToken = page.NextToken; aws.ToString(ask.NextToken) == "" {
			return state, nil
		}
	}
}

func (c *Cloud) writeDocumentShares(ctx context.Context, in action.Input, from, to documentShares) (documentShares, error) {
	name, at, err := documentNaming().find(c, in)
	if err != nil {
		return documentShares{}, err
	}
	api, err := service(c, at, ssm.NewFromConfig)
	if err != nil {
		return documentShares{}, err
	}
	modify := func(change *ssm.ModifyDocumentPermissionInput) error {
		change.Name, change.PermissionType = aws.String(name), types.DocumentPermissionTypeShare
		if _, err := api.ModifyDocumentPermission(ctx, change); err != nil {
			return fmt.Errorf("change who document %s is shared with: %w", name, classify(err))
		}
		return nil
	}
	for some := range slices.Chunk(from.without(to), mostAtOnce) {
		if err := modify(&ssm.ModifyDocumentPermissionInput{AccountIdsToRemove: some}); err != nil {
			return documentShares{}, err
		}
	}
	byVersion := map[string][]string{}
	for _, account := range to.without(from) {
		byVersion[to.Accounts[account]] = append(byVersion[to.Accounts[account]], account)
	}
	for _, version := range slices.Sorted(maps.Keys(byVersion)) {
		for some := range slices.Chunk(byVersion[version], mostAtOnce) {
			if err := modify(&ssm.ModifyDocumentPermissionInput{AccountIdsToAdd: some, SharedDocumentVersion: optional(version)}); err != nil {
				return documentShares{}, err
			}
		}
	}
	return to, nil
}

// sessionOpen is whether a session of Session Manager's is open.
type sessionOpen struct {
	Open bool `json:"open"`

	session types.Session
}

// terminateSession makes aws.ssm.terminate_session.
func terminateSession(c *Cloud) *final[sessionOpen] {
	naming := naming{what: "Session Manager session", param: "session", kind: entity.Resource, service: "ssm", prefix: "session/", form: sessionForm, byARN: true}
	return finally(c, action.Setting[sessionOpen]{
		About:  terminateSpec(),
		Target: naming.target(c),
		Read: func(ctx context.Context, in action.Input) (sessionOpen, error) {
			id, at, err := naming.find(c, in)
			if err != nil {
				return sessionOpen{}, err
			}
			return c.readSession(ctx, at, id)
		},
		Want: func(action.Input, sessionOpen) (sessionOpen, error) { return sessionOpen{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to sessionOpen) (sessionOpen, error) {
			id, at, err := naming.find(c, in)
			if err != nil {
				return sessionOpen{}, err
			}
			api, err := service(c, at, ssm.NewFromConfig)
			if err != nil {
				return sessionOpen{}, err
			}
			if _, err := api.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: aws.String(id)}); err != nil {
				return sessionOpen{}, fmt.Errorf("terminate session %s: %w", id, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ sessionOpen) []string {
			return []string{"ssm:TerminateSession " + in.Params.String("session")}
		},
		Summary: func(in action.Input, from, _ sessionOpen) string {
			return fmt.Sprintf("Session %s of %s on %s is ended", in.Params.String("session"), shorten(aws.ToString(from.session.Owner)),
				shorten(aws.ToString(from.session.Target)))
		},
		Facts: func(_ context.Context, _ action.Input, now sessionOpen, c *action.Change) error {
			c.Outputs = map[string]any{"owner": aws.ToString(now.session.Owner), "target": aws.ToString(now.session.Target)}
			c.Impact = []string{
				"what was started in the session may go on running on the machine",
				"its owner may start another: take that right, or the credentials, away first",
			}
			return nil
		},
	})
}

func terminateSpec() action.Spec {
	const sessions = "arn:{partition}:ssm:{region}:{account}:session/*"
	return action.Spec{
		Name:    "aws.ssm.terminate_session",
		Summary: "End a session of Session Manager",
		Doc: "Closes the connection of the session to the machine. What was started in it may go on there, and its owner may start another session: " +
			"first take the credentials away by which it was started.\n\n**There is no undo**: a session that has ended can't be resumed.",
		Effect: action.Destroy,
		Params: []action.Param{{Name: "session", Type: action.String, Required: true, Entity: entity.Resource, Doc: "id or ARN of the session"}},
		Outputs: []action.Output{
			{Name: "owner", Type: action.String, Doc: "who started it"}, {Name: "target", Type: action.String, Doc: "the machine it was on"},
		},
		Permissions: slices.Concat(reads("*", "ssm:DescribeSessions"), writes(sessions, "ssm:TerminateSession")),
	}
}

func (c *Cloud) readSession(ctx context.Context, at action.Place, id string) (sessionOpen, error) {
	api, err := service(c, at, ssm.NewFromConfig)
	if err != nil {
		return sessionOpen{}, err
	}
	for _, state := range []types.SessionState{types.SessionStateActive, types.SessionStateHistory} {
		got, err := api.DescribeSessions(ctx, &ssm.DescribeSessionsInput{
			State: state, Filters: []types.SessionFilter{{Key: types.SessionFilterKeySessionId, Value: aws.String(id)}},
		})
		if err != nil {
			return sessionOpen{}, fmt.Errorf("look for session %s: %w", id, classify(err))
		}
		for _, found := range got.Sessions {
			if aws.ToString(found.SessionId) == id {
				return sessionOpen{Open: state == types.SessionStateActive, session: found}, nil
			}
		}
	}
	return sessionOpen{}, fault.New(fault.NotFound, "account %s has no session %s in %s", at.Account, id, at.Region)
}
