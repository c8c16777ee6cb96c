package aws_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// statements tells what a policy says, whatever the order of its statements.
func statements(t *testing.T, policy string) string {
	t.Helper()
	if policy == "" {
		return "none"
	}
	var read struct{ Statement []object }
	if err := json.Unmarshal([]byte(policy), &read); err != nil {
		t.Fatalf("%v: %s", err, policy)
	}
	bySid := map[string]string{}
	for _, s := range read.Statement {
		sid, _ := s["Sid"].(string)
		bySid[sid] = dump(t, s)
	}
	return dump(t, bySid)
}

const public = `{"Sid":"everybody","Effect":"Allow","Principal":"*","Action":"x:Use","Resource":"*"}`

func document(statements ...string) string {
	return `{"Version": "2012-10-17", "Id": "p", "Statement": [` + strings.Join(statements, ", ") + `]}`
}

// holder is a kind of resource with a policy, at the emulator.
type holder struct {
	name, param string
	make        func(t *testing.T, l *lab) (named string)
	policy      func(t *testing.T, l *lab) string
	set         func(t *testing.T, l *lab, policy string)
}

func holders() []holder {
	queue := func(t *testing.T, l *lab) (*sqs.Client, *string) {
		t.Helper()
		api := sqs.NewFromConfig(l.direct)
		got := must[*sqs.GetQueueUrlOutput](t)(api.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: sdk.String("jobs")}))
		return api, got.QueueUrl
	}
	topic := func(l *lab) (*sns.Client, *string) {
		return sns.NewFromConfig(l.direct), sdk.String("arn:aws:sns:eu-central-1:" + l.account + ":bills")
	}
	return []holder{
		{
			name: "aws.sqs.remove_public_policy", param: "queue",
			make: func(t *testing.T, l *lab) string {
				t.Helper()
				must[*sqs.CreateQueueOutput](t)(sqs.NewFromConfig(l.direct).CreateQueue(t.Context(), &sqs.CreateQueueInput{
					QueueName: sdk.String("jobs"), Tags: map[string]string{"owner": "shop"},
				}))
				return "jobs"
			},
			policy: func(t *testing.T, l *lab) string {
				t.Helper()
				api, address := queue(t, l)
				got := must[*sqs.GetQueueAttributesOutput](t)(api.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
					QueueUrl: address, AttributeNames: []sqstypes.QueueAttributeName{"All"},
				}))
				return got.Attributes["Policy"]
			},
			set: func(t *testing.T, l *lab, policy string) {
				t.Helper()
				api, address := queue(t, l)
				must[*sqs.SetQueueAttributesOutput](t)(api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
					QueueUrl: address, Attributes: map[string]string{"Policy": policy},
				}))
			},
		},
		{
			name: "aws.sns.remove_public_policy", param: "topic",
			make: func(t *testing.T, l *lab) string {
				t.Helper()
				made := must[*sns.CreateTopicOutput](t)(sns.NewFromConfig(l.direct).CreateTopic(t.Context(), &sns.CreateTopicInput{
					Name: sdk.String("bills"), Tags: []snstypes.Tag{{Key: sdk.String("owner"), Value: sdk.String("shop")}},
				}))
				return *made.TopicArn
			},
			policy: func(t *testing.T, l *lab) string {
				t.Helper()
				api, named := topic(l)
				got := must[*sns.GetTopicAttributesOutput](t)(api.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: named}))
				return got.Attributes["Policy"]
			},
			set: func(t *testing.T, l *lab, policy string) {
				t.Helper()
				api, named := topic(l)
				must[*sns.SetTopicAttributesOutput](t)(api.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{
					TopicArn: named, AttributeName: sdk.String("Policy"), AttributeValue: sdk.String(policy),
				}))
			},
		},
		{
			name: "aws.ecr.remove_public_policy", param: "repository",
			make: func(t *testing.T, l *lab) string {
				t.Helper()
				must[*ecr.CreateRepositoryOutput](t)(ecr.NewFromConfig(l.direct).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
					RepositoryName: sdk.String("shop/till"), Tags: []ecrtypes.Tag{{Key: sdk.String("owner"), Value: sdk.String("shop")}},
				}))
				return "arn:aws:ecr:eu-central-1:" + l.account + ":repository/shop/till"
			},
			policy: func(t *testing.T, l *lab) string {
				t.Helper()
				got, err := ecr.NewFromConfig(l.direct).GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: sdk.String("shop/till")})
				if err != nil {
					return ""
				}
				return *got.PolicyText
			},
			set: func(t *testing.T, l *lab, policy string) {
				t.Helper()
				must[*ecr.SetRepositoryPolicyOutput](t)(ecr.NewFromConfig(l.direct).SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{
					RepositoryName: sdk.String("shop/till"), PolicyText: sdk.String(policy),
				}))
			},
		},
	}
}

func TestRemovePublicPolicy(t *testing.T) {
	for _, h := range holders() {
		t.Run(h.name, func(t *testing.T) {
			for rest, keep := range map[string][]string{
				"alone":         nil,
				"beside others": {`{"Sid":"own","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::{account}:root"},"Action":"x:Use","Resource":"*"}`},
			} {
				t.Run(rest, func(t *testing.T) {
					l := newLab(t)
					named := h.make(t, l)
					for i := range keep {
						keep[i] = strings.ReplaceAll(keep[i], "{account}", l.account)
					}
					h.set(t, l, document(append([]string{public}, keep...)...))
					params := action.Params{h.param: named, "scope": "public"}
					missing := l.input(action.Params{h.param: strings.NewReplacer("jobs", "gone", "bills", "gone", "till", "gone").Replace(named), "scope": "public"})
					more := 0
					providertest.Contract(t, providertest.Case{
						Action: l.action(t, h.name), Input: l.input(params), Missing: &missing, Door: l.door,
						State: func(t *testing.T) string { t.Helper(); return statements(t, h.policy(t, l)) },
						Change: func(t *testing.T) {
							t.Helper()
							more++
							h.set(t, l, document(append([]string{strings.ReplaceAll(public, "everybody", "e"+strings.Repeat("x", more))}, keep...)...))
						},
					})
					if change := l.plan(t, h.name, params); change.Tags["owner"] != "shop" || len(change.Impact) < 2 {
						t.Errorf("got tags %v and impact %v", change.Tags, change.Impact)
					}
				})
			}
		})
	}
}

// What is public and what isn't, by what Apply leaves of it.
func TestRemovePublicPolicyTakesOutWhatLetsEverybodyIn(t *testing.T) {
	l := newLab(t)
	h := holders()[0]
	named := h.make(t, l)
	of := func(sid, principal, condition string) string {
		return `{"Sid":"` + sid + `","Effect":"Allow","Principal":` + principal + `,"Action":"SQS:SendMessage","Resource":"*","Condition":` + condition + `}`
	}
	account := `{"StringEquals":{"aws:SourceAccount":"` + l.account + `"}}`
	kept := map[string]string{
		"ownAccount": of("ownAccount", `"*"`, account),
		"ownTopic":   of("ownTopic", `"*"`, `{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:`+l.account+`:*"}}`),
		"bucket":     of("bucket", `{"AWS":"*"}`, `{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::shop-files"}}`),
		"org":        of("org", `"*"`, `{"StringEquals":{"aws:PrincipalOrgID":"o-0123456789"}}`),
		"office":     of("office", `"*"`, `{"IpAddress":{"aws:SourceIp":["203.0.113.0/24"]}}`),
		"service":    of("service", `{"Service":"events.amazonaws.com"}`, account),
		"other":      of("other", `{"AWS":"999999999999"}`, `{}`),
		"deny":       `{"Sid":"deny","Effect":"Deny","Principal":"*","Action":"SQS:*","Resource":"*"}`,
	}
	out := []string{
		of("bare", `"*"`, `{}`), of("listed", `{"AWS":["*","arn:aws:iam::`+l.account+`:root"]}`, `{}`),
		of("ifExists", `"*"`, `{"StringEqualsIfExists":{"aws:SourceAccount":"`+l.account+`"}}`),
		of("not", `"*"`, `{"StringNotEquals":{"aws:SourceAccount":"`+l.account+`"}}`),
		of("wildAccount", `"*"`, `{"StringLike":{"aws:SourceAccount":"*"}}`),
		of("wildTopic", `"*"`, `{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:*"}}`),
		of("anyAddress", `"*"`, `{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}`),
		of("encrypted", `"*"`, `{"Bool":{"aws:SecureTransport":"true"}}`),
	}
	h.set(t, l, document(append(out, slices.Sorted(maps.Values(kept))...)...))
	left := func(params action.Params) []string {
		t.Helper()
		do := l.action(t, h.name)
		change := l.plan(t, h.name, params)
		must[action.Result](t)(do.Apply(t.Context(), change))
		var read struct{ Statement []struct{ Sid string } }
		if err := json.Unmarshal([]byte(h.policy(t, l)), &read); err != nil {
			t.Fatal(err)
		}
		var sids []string
		for _, s := range read.Statement {
			sids = append(sids, s.Sid)
		}
		slices.Sort(sids)
		return sids
	}
	if got, want := left(action.Params{"queue": named, "scope": "public"}), slices.Sorted(maps.Keys(kept)); !slices.Equal(got, want) {
		t.Errorf("public: got %v left, want %v", got, want)
	}
	h.set(t, l, document(append(out, slices.Sorted(maps.Values(kept))...)...))
	if got := left(action.Params{"queue": named, "scope": "foreign", "keep": []string{"999999999999"}}); !slices.Contains(got, "other") {
		t.Errorf("foreign, but for one: got %v left", got)
	}
	delete(kept, "other")
	if got, want := left(action.Params{"queue": named, "scope": "foreign"}), slices.Sorted(maps.Keys(kept)); !slices.Equal(got, want) {
		t.Errorf("foreign: got %v left, want %v", got, want)
	}
	l.refuses(t, h.name, action.Params{"queue": named, "scope": "foreign", "keep": []string{"everybody"}}, fault.Invalid)
	l.refuses(t, h.name, action.Params{"queue": "arn:aws:sqs:eu-central-1:999999999999:jobs"}, fault.Invalid)
	l.refuses(t, h.name, action.Params{"queue": "https://evil.example/1/jobs"}, fault.Invalid)
}

// A new topic's policy names everybody, bound to its owner by a condition. It is not public.
func TestATopicIsNotPublicByDefault(t *testing.T) {
	l := newLab(t)
	h := holders()[1]
	named := h.make(t, l)
	if change := l.plan(t, h.name, action.Params{"topic": named, "scope": "public"}); !change.Noop {
		t.Errorf("it would change the default policy %s into %s", change.Before, change.After)
	}
}
