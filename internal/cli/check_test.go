package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// place is a folder of files, without a server.
func place(t *testing.T, texts map[string]string) *house {
	t.Helper()
	h := &house{TB: t, folder: t.TempDir()}
	for name, text := range texts {
		h.write(name, text)
	}
	return h
}

func TestCheckSaysWhereMistakesAre(t *testing.T) {
	h := place(t, map[string]string{
		"riposte.yaml": "listen: 127.0.0.1:0\nrespond:\n  autonmy: auto\n",
		"rule.yaml": "title: A rule\nid: 00000000-0000-4000-8000-000000000001\nstatus: test\nlogsource: {product: aws, service: cloudtrail}\n" +
			"detection:\n  selection: {eventName: StopLogging}\n  condition: selectoin\nlevel: high\n",
		"playbooks/book.yaml": strings.Replace(asking, "use: notify", "use: notfy", 1),
	})
	wrong := h.path("riposte.yaml")
	for _, args := range [][]string{{"check"}, {"serve", "--check"}} {
		riposte(t, append(args, "--config", wrong)...).ends(3, wrong+":3", "respond.autonmy", "autonomy", "1 mistakes")
	}
	riposte(t, "serve", "--config", wrong).ends(1, wrong+":3", "respond.autonmy", "autonomy")
	riposte(t, "check", h.path("rule.yaml")).ends(3, h.path("rule.yaml")+":", "condition", "selectoin")
	riposte(t, "check", h.path("playbooks")).ends(3, h.path("playbooks/book.yaml")+":7", "steps[1].use", "notfy", "notify")
	riposte(t, "check", h.path("nowhere")).ends(3, "nowhere")
	report := riposte(t, "check", h.folder, "--json")
	report.ends(3)
	var told struct {
		OK       bool
		Mistakes []string
	}
	if err := json.Unmarshal([]byte(report.out), &told); err != nil || told.OK || len(told.Mistakes) < 2 {
		t.Errorf("got %+v, %v; want the mistakes of all files", told, err)
	}
	riposte(t, "check").fine().says("in order:")
	good := decoded[struct {
		OK       bool
		Mistakes []string
	}](riposte(t, "check", "--json"))
	if !good.OK || good.Mistakes == nil {
		t.Errorf("got %+v", good)
	}
}

func TestCheckDoesNotTellSecrets(t *testing.T) {
	const word = "hunter2-hunter2"
	h := place(t, map[string]string{
		"riposte.yaml": "listen: nowhere\nstore: {url: {env: RIPOSTE_TEST_STORE}}\nslack: {token: " + word + ", channels: {a: {id: C0123456789}}}\n" +
			"auth: {senders: [{name: a, secret: " + word + "}]}\n",
	})
	t.Setenv("RIPOSTE_TEST_STORE", "postgres://riposte:"+word+"@db/riposte")
	for _, args := range [][]string{{"check"}, {"check", "--json"}, {"serve", "--check"}, {"serve"}, {"permissions"}, {"replay", "-"}, {"status"}} {
		got := riposte(t, append(args, "--config", h.path("riposte.yaml"))...)
		if got.code == 0 || strings.Contains(got.out+got.err, word) {
			t.Errorf("%v: ended with %d and says %s%s", args, got.code, got.out, got.err)
		}
	}
}

// policy is an IAM policy, as far as the test looks at it.
type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect string
		Action      []string
		Resource    []string
	}
}

func (p policy) allows() []string {
	var all []string
	for _, s := range p.Statement {
		all = append(all, s.Action...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ofAccounts are calls that change a setting of an account, or make what has no name yet: IAM knows no resource of them.
var ofAccounts = []string{
	"guardduty:CreateDetector", "iam:DeleteAccountPasswordPolicy", "iam:UpdateAccountPasswordPolicy", "logs:CreateLogDelivery",
	"logs:DeleteLogDelivery", "organizations:CreatePolicy", "s3:PutAccountPublicAccessBlock",
}

func TestPermissionsAreLeast(t *testing.T) {
	const source = "aws: {enabled: true, region: eu-central-1}\nsources: {queues: [{url: https://sqs.eu-central-1.amazonaws.com/123456789012/q, buckets: [acme-trail]}]}\n"
	h := place(t, map[string]string{
		"nothing.yaml": "content: {shipped: false}\n",
		"watch.yaml":   source + "content: {shipped: false}\n",
		"one.yaml":     source + "content: {shipped: false, playbooks: [key.yaml]}\n",
		"all.yaml":     source,
		"key.yaml": strings.Replace(asking, `{id: tell, use: notify, with: {channel: security, message: "{{ finding.title }}"}}`,
			`{use: aws.iam.disable_access_key, with: {access_key_id: AKIAIOSFODNN7EXAMPLE}}`, 1),
	})
	read := func(name string) policy {
		return decoded[policy](riposte(t, "permissions", "--config", h.path(name)))
	}
	if got := read("nothing.yaml").allows(); len(got) != 0 {
		t.Errorf("without anything: %v", got)
	}
	sees := []string{"iam:SimulatePrincipalPolicy", "s3:GetObject", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
	if got := read("watch.yaml").allows(); !slices.Equal(got, sees) {
		t.Errorf("to watch: got %v, want %v", got, sees)
	}
	one := read("one.yaml").allows()
	if !slices.Contains(one, "iam:UpdateAccessKey") || slices.ContainsFunc(one, func(a string) bool { return strings.HasPrefix(a, "ec2:") }) {
		t.Errorf("to disable keys: got %v", one)
	}
	all := read("all.yaml")
	if len(all.allows()) <= len(one) {
		t.Errorf("all playbooks need no more than one: %v", all.allows())
	}
	mutating := []string{"Put", "Update", "Delete", "Create", "Modify", "Revoke", "Stop", "Start", "Detach", "Disassociate", "Associate"}
	for _, s := range all.Statement {
		if s.Sid == "" || s.Effect != "Allow" || len(s.Resource) == 0 {
			t.Errorf("got the statement %+v", s)
		}
		for _, a := range s.Action {
			service, name, named := strings.Cut(a, ":")
			if !named || service == "" || strings.Contains(a, "*") {
				t.Errorf("%s allows more than one action", a)
			}
			changes := slices.ContainsFunc(mutating, func(verb string) bool { return strings.HasPrefix(name, verb) })
			if changes && slices.Contains(s.Resource, "*") && !slices.Contains(ofAccounts, a) {
				t.Errorf("%s may change anything", a)
			}
		}
	}
	if all.Version != "2012-10-17" {
		t.Errorf("got version %q", all.Version)
	}
}
