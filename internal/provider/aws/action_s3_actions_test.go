package aws_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func TestBlockAccountPublicAccess(t *testing.T) {
	l := newLab(t)
	const name = "aws.s3.block_account_public_access"
	api := accountBlock{t, l}
	some := false
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{}), Door: l.door,
		State:  func(*testing.T) string { return api.get() },
		Change: func(*testing.T) { some = !some; api.put(some) },
	})
	change := l.plan(t, name, action.Params{})
	if change.Target.Kind != entity.Account || change.Target.ID != l.account {
		t.Errorf("the target is %s %s", change.Target.Kind, change.Target.ID)
	}
	tells(t, change, "0 buckets")
}

// policyOf tells a bucket's policy.
func policyOf(t *testing.T, api *s3.Client, name string) string {
	t.Helper()
	got, err := api.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: sdk.String(name)})
	if err != nil {
		return "none"
	}
	return *got.Policy
}

func putPolicy(t *testing.T, api *s3.Client, name, document string) {
	t.Helper()
	must[*s3.PutBucketPolicyOutput](t)(api.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: sdk.String(name), Policy: sdk.String(document)}))
}

// allows is a statement that lets a principal, given in JSON, read a bucket.
func allows(bucket, sid, principal, more string) string {
	return `{"Sid":"` + sid + `","Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + bucket + `/*"` + more + `}`
}

func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func TestBucketPolicies(t *testing.T) {
	for name, given := range map[string]action.Params{
		"aws.s3.deny_principal":           {"principal": "arn:aws:sts::999999999999:assumed-role/eve/session"},
		"aws.s3.remove_public_statements": {"scope": "public"},
		"aws.s3.require_tls":              {},
	} {
		for before, statements := range map[string][]string{"open": {`"*"`}, "open and shared": {`"*"`, `{"AWS":"888888888888"}`}, "none": nil} {
			if before == "none" && strings.Contains(name, "public") {
				continue // there is nothing to remove
			}
			t.Run(name+" "+before, func(t *testing.T) {
				l := newLab(t)
				bucket := strings.ReplaceAll("shop-"+before, " ", "-") + "-" + l.account
				api := store(t, l, bucket)
				var list []string
				for i, principal := range statements {
					list = append(list, allows(bucket, fmt.Sprintf("S%d", i), principal, ""))
				}
				if len(list) > 0 {
					putPolicy(t, api, bucket, policy(list...))
				}
				given["bucket"] = bucket
				missing, changes := l.input(action.Params{"bucket": "nobodys-" + l.account, "principal": given["principal"], "scope": given["scope"]}), 0
				providertest.Contract(t, providertest.Case{
					Action: l.action(t, name), Input: l.input(given), Missing: &missing, Door: l.door,
					State: func(t *testing.T) string { t.Helper(); return policyOf(t, api, bucket) },
					Change: func(t *testing.T) {
						t.Helper()
						changes++
						putPolicy(t, api, bucket, policy(allows(bucket, fmt.Sprintf("Theirs%d", changes), `{"AWS":"777777777777"}`, ""), allows(bucket, "Open", `"*"`, "")))
					},
				})
			})
		}
	}
}

// What S3 gives back in another form is neither a change nor drift.
func TestBucketPoliciesAreComparedByTheirMeaning(t *testing.T) {
	l := newLab(t)
	bucket := "form-" + l.account
	api := store(t, l, bucket)
	putPolicy(t, api, bucket, policy(allows(bucket, "Mine", `{"AWS":["111111111111","222222222222"]}`, ""), allows(bucket, "Open", `"*"`, "")))
	const name = "aws.s3.remove_public_statements"
	change := l.plan(t, name, action.Params{"bucket": bucket, "scope": "public"})
	putPolicy(t, api, bucket, policy(allows(bucket, "Mine", `{"AWS":["arn:aws:iam::222222222222:root","111111111111"]}`, ""), allows(bucket, "Open", `{"AWS":["*"]}`, "")))
	do := l.action(t, name)
	result := must[action.Result](t)(do.Apply(t.Context(), change))
	putPolicy(t, api, bucket, policy(allows(bucket, "Mine", `{"AWS":["222222222222","111111111111"]}`, "")))
	undoer, _ := do.(action.Undoer)
	if drift, err := undoer.Drift(t.Context(), action.Applied{Change: change, Result: result}); err != nil || len(drift) > 0 {
		t.Errorf("got drift %v, %v", drift, err)
	}
	must[action.Result](t)(undoer.Undo(t.Context(), action.Applied{Change: change, Result: result}, false))
	want := policy(allows(bucket, "Mine", `{"AWS":["111111111111","222222222222"]}`, ""), allows(bucket, "Open", `"*"`, ""))
	if got := policyOf(t, api, bucket); got != want {
		t.Errorf("undo put back\n%s\nwant\n%s", got, want)
	}
}

func TestRemovePublicStatementsLeavesTheRest(t *testing.T) {
	l := newLab(t)
	bucket := "rest-" + l.account
	api := store(t, l, bucket)
	const name, stranger = "aws.s3.remove_public_statements", `{"AWS":"arn:aws:iam::999999999999:user/eve"}`
	deny := `{"Sid":"D","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::` + bucket + `/*"}`
	network := allows(bucket, "Network", `"*"`, `,"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`)
	cdn := allows(bucket, "CDN", `{"AWS":"arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"}`, "")
	service := allows(bucket, "Service", `{"Service":"delivery.logs.amazonaws.com"}`, "")
	mixed := allows(bucket, "Mixed", `{"AWS":["`+l.account+`","999999999999"]}`, "")
	open, not := allows(bucket, "Open", `"*"`, ""), strings.Replace(allows(bucket, "Not", `{"AWS":"`+l.account+`"}`, ""), `"Principal"`, `"NotPrincipal"`, 1)
	all := policy(deny, network, cdn, service, mixed, open, not, allows(bucket, "Stranger", stranger, ""))
	for scope, want := range map[string]string{
		"public":  policy(deny, network, cdn, service, mixed, allows(bucket, "Stranger", stranger, "")),
		"foreign": policy(deny, network, cdn, service, allows(bucket, "Mixed", `{"AWS":["`+l.account+`"]}`, "")),
	} {
		putPolicy(t, api, bucket, all)
		change := l.plan(t, name, action.Params{"bucket": bucket, "scope": scope})
		tells(t, change, "everybody (statement Open)", "within the conditions of statement Network")
		must[action.Result](t)(l.action(t, name).Apply(t.Context(), change))
		if got := policyOf(t, api, bucket); !policydoc.Same([]byte(got), []byte(want)) {
			t.Errorf("scope %s: got\n%s\nwant\n%s", scope, got, want)
		}
	}
	putPolicy(t, api, bucket, policy(open)) // the only one: nothing is left
	must[action.Result](t)(l.action(t, name).Apply(t.Context(), l.plan(t, name, action.Params{"bucket": bucket, "scope": "public"})))
	if got := policyOf(t, api, bucket); got != "none" {
		t.Errorf("got %s", got)
	}
}

// Nobody is locked out who would have to put the policy right.
func TestDenyPrincipalRefusesWhoMustGetIn(t *testing.T) {
	l := newLab(t)
	bucket := "keep-" + l.account
	store(t, l, bucket)
	for principal, kind := range map[string]fault.Kind{
		l.account: fault.Denied, "arn:aws:iam::" + l.account + ":root": fault.Denied, awstest.Home: fault.Denied, l.cloud.Self().ARN: fault.Invalid,
		"arn:aws:iam::" + l.account + ":role/riposte-responder":                 fault.Denied,
		"arn:aws:iam::" + l.account + ":role/with/a/path/riposte-responder":     fault.Denied,
		"arn:aws:sts::" + l.account + ":assumed-role/riposte-responder/riposte": fault.Denied,
		"arn:aws:iam::" + l.account + ":role/break-glass":                       fault.Denied,
		"arn:aws:iam::" + l.account + ":user/emergency-access-1":                fault.Denied,
		"*": fault.Invalid, "arn:aws:iam::" + l.account + ":role/*": fault.Invalid, "arn:aws:iam::*:role/eve": fault.Invalid,
		"arn:aws:s3:::bucket": fault.Invalid, "": fault.Invalid, "eve": fault.Invalid,
	} {
		l.refuses(t, "aws.s3.deny_principal", action.Params{"bucket": bucket, "principal": principal}, kind)
	}
	change := l.plan(t, "aws.s3.deny_principal", action.Params{"bucket": bucket, "principal": "arn:aws:sts::" + l.account + ":assumed-role/web/i-1"})
	for _, want := range []string{
		`"aws:PrincipalArn":["arn:aws:iam::` + l.account + `:role/web","arn:aws:iam::` + l.account + `:role/*/web"]`, `"Sid":"RiposteDenyINC1"`,
		`"Resource":["arn:aws:s3:::` + bucket + `","arn:aws:s3:::` + bucket + `/*"]`,
	} {
		if !strings.Contains(string(change.After), want) {
			t.Errorf("%s lacks %s", change.After, want)
		}
	}
	if len(change.Touches) != 1 || change.Touches[0].Kind != entity.Role || change.Touches[0].ID != "web" {
		t.Errorf("guardrails can't see whom it is about: %v", change.Touches)
	}
}

// A policy that Riposte doesn't understand in full isn't rewritten.
func TestBucketPoliciesThatArentUnderstoodStay(t *testing.T) {
	l := newLab(t)
	bucket := "odd-" + l.account
	api := store(t, l, bucket)
	putPolicy(t, api, bucket, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*","Unless":{}}]}`)
	l.refuses(t, "aws.s3.remove_public_statements", action.Params{"bucket": bucket, "scope": "public"}, fault.Invalid)
	l.refuses(t, "aws.s3.require_tls", action.Params{"bucket": bucket}, fault.Invalid)
}

func TestRequireTLSFindsThatItIsSo(t *testing.T) {
	l := newLab(t)
	bucket := "tls-" + l.account
	api := store(t, l, bucket)
	denial := func(resources, more string) string {
		return policy(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":` + resources + `,"Condition":{"Bool":{"aws:SecureTransport":"false"}` + more + `}}`)
	}
	both := `["arn:aws:s3:::` + bucket + `/*","arn:aws:s3:::` + bucket + `"]`
	for document, want := range map[string]bool{
		denial(both, ""): true, denial(`"*"`, ""): true, denial(`"arn:aws:s3:::`+bucket+`/*"`, ""): false,
		denial(both, `,"StringEquals":{"aws:PrincipalAccount":"1"}`): false,
	} {
		putPolicy(t, api, bucket, document)
		if got := l.plan(t, "aws.s3.require_tls", action.Params{"bucket": bucket}).Noop; got != want {
			t.Errorf("%s: got noop %t", document, got)
		}
	}
}

func TestMakeACLPrivate(t *testing.T) {
	l := newLab(t)
	bucket := "acl-" + l.account
	api := store(t, l, bucket)
	put := func(t *testing.T, acl types.BucketCannedACL) {
		t.Helper()
		must[*s3.PutBucketAclOutput](t)(api.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: sdk.String(bucket), ACL: acl}))
	}
	put(t, types.BucketCannedACLPublicRead)
	const name = "aws.s3.make_acl_private"
	missing := l.input(action.Params{"bucket": "nobodys-" + l.account})
	canned := []types.BucketCannedACL{types.BucketCannedACLAuthenticatedRead, types.BucketCannedACLPublicRead}
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"bucket": bucket}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*s3.GetBucketAclOutput](t)(api.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: sdk.String(bucket)}))
			var list []string
			for _, g := range got.Grants {
				list = append(list, sdk.ToString(g.Grantee.ID)+sdk.ToString(g.Grantee.URI)+" "+string(g.Permission))
			}
			return sortedLines(list)
		},
		Change: func(t *testing.T) { t.Helper(); put(t, canned[0]); canned = canned[1:] },
	})
	tells(t, l.plan(t, name, action.Params{"bucket": bucket}), "objects whose own ACL is public stay public")
}

func TestBucketSettings(t *testing.T) {
	l := newLab(t)
	bucket, logs := "settings-"+l.account, "logs-"+l.account
	api := store(t, l, bucket)
	store(t, l, logs)
	key := func(id string) string {
		return "arn:aws:kms:eu-west-1:" + l.account + ":key/00000000-0000-0000-0000-" + id
	}
	changes := 0
	for name, c := range map[string]struct {
		params action.Params
		state  func(t *testing.T) string
		change func(t *testing.T)
	}{
		"aws.s3.enable_versioning": {state: func(t *testing.T) string {
			t.Helper()
			got := must[*s3.GetBucketVersioningOutput](t)(api.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: sdk.String(bucket)}))
			return map[types.BucketVersioningStatus]string{types.BucketVersioningStatusEnabled: "on"}[got.Status]
		}},
		"aws.s3.enable_encryption": {params: action.Params{"kms_key": key("000000000001")}, state: func(t *testing.T) string {
			t.Helper()
			got, err := api.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: sdk.String(bucket)})
			if err != nil {
				return "none"
			}
			return dump(t, got.ServerSideEncryptionConfiguration)
		}, change: func(t *testing.T) {
			t.Helper()
			changes++
			must[*s3.PutBucketEncryptionOutput](t)(api.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
				Bucket: sdk.String(bucket), ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
					Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{
						SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: sdk.String(key(fmt.Sprintf("%012d", 100+changes))),
					}}},
				},
			}))
		}},
		"aws.s3.enable_logging": {params: action.Params{"log_bucket": logs}, state: func(t *testing.T) string {
			t.Helper()
			got := must[*s3.GetBucketLoggingOutput](t)(api.GetBucketLogging(t.Context(), &s3.GetBucketLoggingInput{Bucket: sdk.String(bucket)}))
			return dump(t, got.LoggingEnabled)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			given := action.Params{"bucket": bucket}
			gone := action.Params{"bucket": "nobodys-" + l.account}
			maps.Copy(given, c.params)
			maps.Copy(gone, c.params)
			missing := l.input(gone)
			if name == "aws.s3.enable_logging" {
				policyForLogs(t, api, logs)
			}
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, name), Input: l.input(given), Missing: &missing, Door: l.door, State: c.state, Change: c.change,
			})
		})
	}
	l.refuses(t, "aws.s3.enable_encryption", action.Params{"bucket": bucket, "kms_key": "arn:aws:kms:eu-west-1:999999999999:key/00000000-0000-0000-0000-000000000001"}, fault.Invalid)
	l.refuses(t, "aws.s3.enable_encryption", action.Params{"bucket": bucket, "kms_key": "alias/theirs"}, fault.Invalid)
	l.refuses(t, "aws.s3.enable_logging", action.Params{"bucket": bucket, "log_bucket": bucket}, fault.Invalid)
}

// policyForLogs lets S3's log delivery write to a bucket.
func policyForLogs(t *testing.T, api *s3.Client, logs string) {
	t.Helper()
	putPolicy(t, api, logs, policy(`{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::`+logs+`/*"}`))
}

func TestHoldObjects(t *testing.T) {
	l := newLab(t)
	bucket := "evidence-" + l.account
	api := s3.NewFromConfig(l.direct, func(o *s3.Options) { o.UsePathStyle = true })
	must[*s3.CreateBucketOutput](t)(api.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: sdk.String(bucket), ObjectLockEnabledForBucket: sdk.Bool(true),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awstest.Region},
	}))
	versions := map[string]string{}
	for _, key := range []string{"a", "b c", "d"} {
		got := must[*s3.PutObjectOutput](t)(api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: sdk.String(bucket), Key: sdk.String(key), Body: strings.NewReader(key)}))
		versions[key] = *got.VersionId
	}
	hold := func(t *testing.T, key string, status types.ObjectLockLegalHoldStatus) {
		t.Helper()
		must[*s3.PutObjectLegalHoldOutput](t)(api.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
			Bucket: sdk.String(bucket), Key: sdk.String(key), VersionId: sdk.String(versions[key]), LegalHold: &types.ObjectLockLegalHold{Status: status},
		}))
	}
	hold(t, "d", types.ObjectLockLegalHoldStatusOn)
	const name = "aws.s3.hold_objects"
	given := action.Params{"bucket": bucket, "keys": []string{"a", "b c", "d"}}
	missing := l.input(action.Params{"bucket": bucket, "keys": []string{"a", "gone"}})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(given), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			var list []string
			for key, version := range versions {
				got := must[*s3.GetObjectLegalHoldOutput](t)(api.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{
					Bucket: sdk.String(bucket), Key: sdk.String(key), VersionId: sdk.String(version),
				}))
				on := got.LegalHold != nil && got.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
				list = append(list, fmt.Sprintf("%s %t", key, on))
			}
			return sortedLines(list)
		},
		// Others set or lift holds one by one, and those are states between what was and what is wanted.
	})

	// What is written under the key after the plan isn't what was meant.
	change := l.plan(t, name, given)
	must[*s3.PutObjectOutput](t)(api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: sdk.String(bucket), Key: sdk.String("a"), Body: strings.NewReader("planted")}))
	must[action.Result](t)(l.action(t, name).Apply(t.Context(), change))
	got := must[*s3.GetObjectLegalHoldOutput](t)(api.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{
		Bucket: sdk.String(bucket), Key: sdk.String("a"), VersionId: sdk.String(versions["a"]),
	}))
	if got.LegalHold.Status != types.ObjectLockLegalHoldStatusOn {
		t.Error("the version that was planned isn't held")
	}
	l.refuses(t, name, action.Params{"bucket": bucket, "keys": []string{}}, fault.Invalid)
	l.refuses(t, name, action.Params{"bucket": bucket, "keys": make([]string, 51)}, fault.Invalid)
	plain := "plain-" + l.account
	store(t, l, plain)
	l.refuses(t, name, action.Params{"bucket": plain, "keys": []string{"a"}}, fault.NotFound)
}
