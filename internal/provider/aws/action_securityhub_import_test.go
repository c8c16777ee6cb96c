package aws_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/securityhub"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

const importFindings = "aws.securityhub.import_findings"

func TestImportFindings(t *testing.T) {
	server := awstest.NewFindings(t)
	endpoint, answer := scriptedAt(t, server.URL, "GeneratorId")
	l := labAt(t, endpoint, awstest.Home)
	api := securityhub.NewFromConfig(l.direct)
	given := action.Params{
		"title": "Root key\r\n\u202eused " + strings.Repeat("x", 300), "description": strings.Repeat("ä", 2000), "severity": "critical",
		"resources": []string{"arn:aws:iam::123456789012:user/ann", "i-1"}, "types": []string{"TTPs/Credential Access"},
	}
	providertest.Notify(t, providertest.Notice{
		Action: l.action(t, importFindings), Input: l.input(given), Says: []string{"riposte/incident/INC-1", "Root key  used", "AwsIamUser", "CRITICAL"},
		Sent: func(t *testing.T) []string {
			t.Helper()
			sent := make([]string, server.Imported()) // each was sent, though it is one finding
			for i := range sent {
				sent[i] = dump(t, must[*securityhub.GetFindingsOutput](t)(api.GetFindings(t.Context(), &securityhub.GetFindingsInput{})).Findings)
			}
			return sent
		},
		Answer: func(status int) { answer(status, "{}") },
	})
	got := must[*securityhub.GetFindingsOutput](t)(api.GetFindings(t.Context(), &securityhub.GetFindingsInput{}))
	if len(got.Findings) != 1 {
		t.Errorf("%d findings are there, want one that is updated", len(got.Findings))
	}
	for name, wrong := range map[string]action.Params{
		"no severity":    {"title": "t", "severity": "bad"},
		"no title":       {"title": "\x00\u200b", "severity": "low"},
		"no such type":   {"title": "t", "severity": "low", "types": []string{"Crime/Theft"}},
		"too many types": {"title": "t", "severity": "low", "types": strings.Split(strings.Repeat("TTPs,", 51), ",")[:51]},
	} {
		t.Run(name, func(t *testing.T) { l.refuses(t, importFindings, wrong, fault.Invalid) })
	}
}

// TestImportedFindingsAreNoneOfOurs lets what Riposte imported come back as Security Hub tells of it.
func TestImportedFindingsAreNoneOfOurs(t *testing.T) {
	server := awstest.NewFindings(t)
	l := labAt(t, server.URL, awstest.Home)
	change := l.plan(t, importFindings, action.Params{"title": "t", "severity": "low", "archived": true})
	must[action.Result](t)(l.action(t, importFindings).Apply(t.Context(), change))
	events := must[[]event.Event](t)(awslog.Record(server.Hub(t)))
	if len(events) != 1 {
		t.Fatalf("%d events came back", len(events))
	}
	if f, is, err := awslog.Finding(events[0]); is || err != nil {
		t.Errorf("it is a finding of %s, %v", f.Type, err)
	}
}
