package cli_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/playcase"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// TestPlanAtTheServer: the server plans for an incident, and starts nothing.
func TestPlanAtTheServer(t *testing.T) {
	h := newHouse(t)
	matter, _, _ := h.happened()
	before := h.ask("runs", "list").fine().out
	h.ask("plan", "ask-people", "--incident", matter).fine().
		says("ask-people about rule:riposte-aws-cloudtrail-stopped", "sure  approve: ask", "1 of incident_analyst within 1h0m0s, or else deny", "tell  notify: tell")
	told := decoded[playcase.Rehearsal](h.ask("plan", "ask-people", "--incident", matter, "--json"))
	if !told.Starts || len(told.Steps) != 2 || told.Hash == "" {
		t.Errorf("got %+v", told)
	}
	h.ask("plan", "ask-peoples", "--incident", matter).ends(1, `did you mean "ask-people"?`)
	h.ask("plan", "tell-about-root-use", "--incident", matter).fine().says("It does not answer this finding", "none of")
	h.ask("plan", "ask-people", "--incident", "01J0000000000000000000000X").ends(1, "01J0000000000000000000000X")
	if after := h.ask("runs", "list").fine().out; after != before {
		t.Errorf("there are other runs than before:\n%s\n%s", before, after)
	}
}

// TestPlanInACloud: with the configuration's access to a cloud, what is planned is what is there, and stays so.
func TestPlanInACloud(t *testing.T) {
	endpoint := awstest.Own(t)
	awstest.Credentials(t)
	estate := awstest.NewEstate(t, endpoint, "events")
	key, event := estate.Leak("bob")
	h := &house{TB: t, folder: t.TempDir()}
	h.write("riposte.yaml", fmt.Sprintf("data: data\naws: {enabled: true, region: %s, endpoint: %q}\n", awstest.Region, endpoint))
	h.write("event.json", string(event))
	plan := riposte(t, "plan", "contain-leaked-access-key", "--config", h.path("riposte.yaml"), "--event", h.path("event.json")).fine()
	plan.says("who  aws.iam.describe_access_key: read", "user = bob", "disable  aws.iam.disable_access_key: change",
		"iam:UpdateAccessKey "+key+" of user bob to Inactive", "ask: autonomy is approve", "1 of incident_analyst", "tell  notify: tell")
	if status := estate.KeyStatus("bob"); status != "Active" {
		t.Errorf("the key is %s", status)
	}
	h.write("finding.yaml", "type: guardduty:Impact:IAMUser/X\nseverity: high\ntitle: A key\naccount: \""+awstest.Home+"\"\nentities: [{kind: access_key, id: AKIAIOSFODNN7EXAMPLE}]\n")
	missing := riposte(t, "plan", "contain-leaked-access-key", "--config", h.path("riposte.yaml"), "--finding", h.path("finding.yaml")).fine()
	missing.says("who  aws.iam.describe_access_key: unknown", "disable  aws.iam.disable_access_key: unknown", "More can't be known")
}

func TestPlanOfAFile(t *testing.T) {
	h := &house{TB: t, folder: t.TempDir()}
	h.write("ask.yaml", asking)
	h.write("finding.json", `{"finding": {"type": "rule:x", "severity": "high", "title": "Somebody is in"}}`)
	riposte(t, "plan", h.path("ask.yaml"), "--finding", h.path("finding.json")).fine().says("Somebody is in", "Tell channel security")
	riposte(t, "plan", h.path("ask.yaml")).ends(1, "event", "finding", "incident")
	riposte(t, "plan", h.path("ask.yaml"), "--finding", h.path("nothing")).ends(1, "no such file")
	h.write("nothing.json", `{"title": "x"}`)
	riposte(t, "plan", h.path("ask.yaml"), "--finding", h.path("nothing.json")).ends(1, "a finding has a type")
	riposte(t, "plan", "contain-leaked-access-key", "--finding", h.path("finding.json")).ends(1, "aws.iam.describe_access_key", "--config")
	h.write("quiet.json", strings.Replace(event(1, "bob"), "StopLogging", "ListTrails", 1))
	riposte(t, "plan", h.path("ask.yaml"), "--event", h.path("quiet.json")).ends(1, "no rule finds anything")
}
