package aws

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var (
	iamName   = shaped(`^[\w+=,.@-]{1,64}$`)
	accessKey = shaped(`^[A-Z0-9]{16,128}$`)
)

// identity is a client of IAM, which is one for all regions of an account.
func (c *Cloud) identity(at action.Place) (*iam.Client, error) {
	return client(c, at, func(made aws.Config) *iam.Client { return iam.NewFromConfig(made) })
}

// checkName holds the name of a user or a role against what IAM takes. What comes out of an attacker's
// events must not become another call.
func checkName(kind, name string) error {
	if !iamName.MatchString(name) {
		return fault.New(fault.Invalid, "%q is not the name of an IAM %s", shorten(name), kind)
	}
	return nil
}

// checkKey holds an access key's id against its form. Temporary keys belong to sessions, not to users.
func checkKey(id string) error {
	if !accessKey.MatchString(id) {
		return fault.New(fault.Invalid, "%q is not the id of an access key", shorten(id))
	}
	if strings.HasPrefix(id, "ASIA") {
		return fault.WithHint(fault.New(fault.Invalid, "access key %s is temporary: it belongs to a session", id),
			"revoke the role's sessions with aws.iam.revoke_role_sessions, or deny the user with aws.iam.deny_user")
	}
	return nil
}

// shorten bounds what an error message repeats of its input.
func shorten(text string) string {
	const longest = 80
	if len(text) > longest {
		return text[:longest] + "..."
	}
	return text
}

// global names something of IAM's in the account of a place.
func (c *Cloud) global(kind entity.Kind, id string, at action.Place) entity.Entity {
	return entity.Entity{Kind: kind, ID: id, Part: entity.Target, Provider: "aws", Account: c.here(at).Account}
}

// user reads a user, tags included.
func (c *Cloud) user(ctx context.Context, at action.Place, name string) (*types.User, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	got, err := api.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if err != nil {
		return nil, fmt.Errorf("read user %s: %w", name, classify(err))
	}
	return got.User, nil
}

func iamTags(list []types.Tag) map[string]string {
	if len(list) == 0 {
		return nil
	}
	tags := make(map[string]string, len(list))
	for _, tag := range list {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return tags
}

// keysOf lists a user's access keys.
func (c *Cloud) keysOf(ctx context.Context, at action.Place, user string) ([]types.AccessKeyMetadata, error) {
	api, err := c.identity(at)
	if err != nil {
		return nil, err
	}
	var keys []types.AccessKeyMetadata
	pages := iam.NewListAccessKeysPaginator(api, &iam.ListAccessKeysInput{UserName: aws.String(user)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list access keys of user %s: %w", user, classify(err))
		}
		keys = append(keys, page.AccessKeyMetadata...)
	}
	return keys, nil
}

// inline is the state of one inline policy. IAM keeps the text; we compare it without white space.
type inline struct {
	Document json.RawMessage `json:"document,omitempty"` // absent: there is no policy of that name
}

// readInline makes the state of what IAM returned: a document in URL encoding.
func readInline(name, document string) (inline, error) {
	text, err := url.PathUnescape(document)
	if err != nil || !json.Valid([]byte(text)) {
		return inline{}, fault.New(fault.Internal, "policy %s: IAM returned no JSON", name)
	}
	return inline{Document: json.RawMessage(text)}, nil
}

// population reads one number of the account's summary.
func (c *Cloud) population(ctx context.Context, at action.Place, key types.SummaryKeyType) (int, error) {
	api, err := c.identity(at)
	if err != nil {
		return 0, err
	}
	got, err := api.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil {
		return 0, fmt.Errorf("read the account's summary: %w", classify(err))
	}
	return int(got.SummaryMap[string(key)]), nil
}

// reportTries bounds how often we look whether IAM has made the credential report: for three seconds.
const reportTries = 4

// keyPopulation counts the access keys of an account's users by IAM's credential report: a few calls,
// however many users there are. Where IAM takes long to make the report, the error is Transient.
func (c *Cloud) keyPopulation(ctx context.Context, at action.Place) (int, error) {
	api, err := c.identity(at)
	if err != nil {
		return 0, err
	}
	for try := 0; ; try++ {
		made, err := api.GenerateCredentialReport(ctx, &iam.GenerateCredentialReportInput{})
		if err != nil {
			return 0, fmt.Errorf("ask for the credential report: %w", classify(err))
		}
		if made.State == types.ReportStateTypeComplete {
			break
		}
		if try == reportTries || !sleep(ctx, 200*time.Millisecond<<try) {
			return 0, fault.New(fault.Transient, "IAM is making the credential report")
		}
	}
	got, err := api.GetCredentialReport(ctx, &iam.GetCredentialReportInput{})
	if err != nil {
		return 0, fmt.Errorf("read the credential report: %w", classify(err))
	}
	return countKeys(string(got.Content))
}

func countKeys(report string) (int, error) {
	lines := csv.NewReader(strings.NewReader(report))
	lines.FieldsPerRecord = -1
	rows, err := lines.ReadAll()
	if err != nil || len(rows) == 0 {
		return 0, fault.New(fault.Internal, "credential report: not as documented: %w", err)
	}
	count := 0
	for _, column := range []string{"access_key_1_last_rotated", "access_key_2_last_rotated"} {
		at := slices.Index(rows[0], column)
		for _, row := range rows[1:] {
			if at >= 0 && at < len(row) && row[at] != "N/A" && row[at] != "" {
				count++
			}
		}
	}
	return count, nil
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
