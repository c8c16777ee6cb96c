package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/secret"
	"github.com/riposte-sec/riposte/internal/store"
)

// leaked is a finding of Security Hub about a user's key, as BatchImportFindings takes it.
func leaked(user, key string) string {
	now := time.Now().UTC().Format(time.RFC3339)
	return fmt.Sprintf(`{"SchemaVersion":"2018-10-08","Id":"acme/%[2]s","ProductArn":"arn:aws:securityhub:%[3]s:%[4]s:product/%[4]s/default",
		"GeneratorId":"acme","AwsAccountId":%[4]q,"Region":%[3]q,"CreatedAt":%[5]q,"UpdatedAt":%[5]q,"Severity":{"Label":"HIGH"},"Title":"A key leaked",
		"Description":"d","Types":["TTPs/Credential Access/UnauthorizedAccess"],
		"Resources":[{"Type":"AwsIamAccessKey","Id":"AWS::IAM::AccessKey:%[2]s","Details":{"AwsIamAccessKey":{"PrincipalName":%[1]q,"PrincipalType":"IAMUser"}}}]}`,
		user, key, awstest.Region, awstest.Home, now)
}

// disables is a playbook that answers such findings.
const disables = `playbook: disable-leaked-key
summary: Disable a key that leaked.
on: {findings: ["securityhub:*", "webhook:*"], if: finding.has("access_key")}
autonomy: auto
steps:
  - id: who
    use: aws.iam.describe_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
  - use: aws.iam.disable_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
`

// hubState is what Security Hub has of a finding.
type hubState struct {
	ID                string `json:"Id"`
	Workflow          struct{ Status string }
	Note              struct{ Text, UpdatedBy string }
	UserDefinedFields map[string]string
}

// post sends events, which must be taken in.
func (r *running) post(contentType, body string) (status int, taken receipt) {
	r.tb.Helper()
	token := secret.FromFile(filepath.Join(r.data, app.TokenFile))
	if err := token.Resolve(".", nil); err != nil {
		r.tb.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.tb.Context(), http.MethodPost, r.Address()+"/v1/events", strings.NewReader(body))
	if err != nil {
		r.tb.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	request.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&taken); err != nil {
		r.tb.Fatal(err)
	}
	return answer.StatusCode, taken
}

// receipt says what became of events.
type receipt struct {
	Accepted int      `json:"accepted"`
	SetAside int      `json:"set_aside"`
	Why      []string `json:"why"`
}

// metrics reads them.
func (r *running) metrics() string {
	r.tb.Helper()
	token := secret.FromFile(filepath.Join(r.data, app.TokenFile))
	if err := token.Resolve(".", nil); err != nil {
		r.tb.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.tb.Context(), http.MethodGet, r.Address()+"/metrics", http.NoBody)
	if err != nil {
		r.tb.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.tb.Fatal(err)
	}
	return string(text)
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestSecurityHubIsToldOfOutcomes takes in a finding of Security Hub's, contains it, and closes its incident.
func TestSecurityHubIsToldOfOutcomes(t *testing.T) {
	hub := awstest.NewFindings(t)
	awstest.Credentials(t)
	key, _ := awstest.NewEstate(t, awstest.Emulator(t), "unused").Leak("hub-ann")
	c := local(t)
	c.AWS.Enabled, c.AWS.Region, c.AWS.Endpoint, c.AWS.SecurityHub.Report = true, awstest.Region, hub.URL, true
	c.Content.Shipped, c.Content.Playbooks = false, []string{filepath.Join(files(t, map[string]string{"disable.yaml": disables}), "disable.yaml")}
	finding := leaked("hub-ann", key)
	hub.Import(t, finding)
	r := run(t, c)

	status, got := r.post("application/json", `{"Findings":[`+finding+`,{"SchemaVersion":"2018-10-08","Id":"bad"}]}`)
	if status != http.StatusAccepted || got.Accepted != 1 || got.SetAside != 1 || !strings.Contains(got.Why[0], "ProductArn: is missing") {
		t.Fatalf("answered %d: %+v", status, got)
	}
	state := func() hubState {
		var all struct{ Findings []hubState }
		if err := json.Unmarshal(hub.Hub(t), &all); err != nil || len(all.Findings) != 1 {
			t.Fatalf("%v: %+v", err, all)
		}
		return all.Findings[0]
	}
	eventually(t, "NOTIFIED", func() bool { return state().Workflow.Status == "NOTIFIED" })
	if got := state(); !strings.Contains(got.Note.Text, "aws.iam.disable_access_key on "+key) || !strings.Contains(got.UserDefinedFields["riposte_runs"], "succeeded") {
		t.Errorf("Security Hub has %+v", got)
	}
	var page store.Page[incident.Incident]
	if err := r.admin().Get(t.Context(), "/v1/incidents", nil, &page); err != nil || len(page.Items) != 1 {
		t.Fatalf("%v, %d incidents", err, len(page.Items))
	}
	verdict := map[string]string{"verdict": "true_positive", "note": "it was Eve"}
	if err := r.admin().Post(t.Context(), "/v1/incidents/"+page.Items[0].ID+"/close", verdict, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "RESOLVED", func() bool { return state().Workflow.Status == "RESOLVED" })

	// Security Hub tells of what it was told: that opens no incident.
	r.post("application/json", string(hub.Hub(t)))
	if err := r.admin().Get(t.Context(), "/v1/incidents", url.Values{"state": {"open,contained,closed"}}, &page); err != nil || len(page.Items) != 1 {
		t.Errorf("%v, %d incidents, want still one", err, len(page.Items))
	}
	var kinds []string
	eventually(t, "recorded", func() bool {
		var entries store.Page[ledger.Entry]
		if err := r.admin().Get(t.Context(), "/v1/ledger", url.Values{"limit": {"1000"}}, &entries); err != nil {
			t.Fatal(err)
		}
		kinds = nil
		for _, e := range entries.Items {
			if strings.HasPrefix(string(e.Kind), "report.") {
				kinds = append(kinds, string(e.Kind))
			}
		}
		return len(kinds) == 4
	})
	if !slices.Equal(kinds, []string{"report.intended", "report.ended", "report.intended", "report.ended"}) {
		t.Errorf("recorded %q", kinds)
	}
	if got := hub.Updates(); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("updated %v, want one finding twice", got)
	}
	metrics := r.metrics()
	for _, want := range []string{`riposte_follower_lag_seconds{follower="securityhub"} 0`, `riposte_follower_failures{follower="securityhub"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// TestCloudEventsInAndOut hands in a finding as a CloudEvent, twice, and gets what follows as CloudEvents, in order,
// over a restart and a receiver that is away.
func TestCloudEventsInAndOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	away := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var event struct{ ID, Type string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		got = append(got, event.ID+" "+event.Type)
	}))
	defer server.Close()
	c := local(t)
	c.Content.Shipped = false
	c.CloudEvents.Endpoints = map[string]cloudevents.Endpoint{"siem": {URL: server.URL, Types: []string{"incident.*", "finding.*"}}}
	r := run(t, c)
	send := func(id string) {
		t.Helper()
		event := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"urn:scanner","type":"com.riposte.finding","time":%q,
			"data":{"type":"mining","title":"A pod mines","severity":"high","entities":[{"kind":"pod","id":"shop/%s"}]}}`, id, time.Now().UTC().Format(time.RFC3339), id)
		for range 2 {
			if status, taken := r.post("application/cloudevents+json", event); status != http.StatusAccepted || taken.Accepted != 1 {
				t.Fatalf("answered %d: %+v", status, taken)
			}
		}
	}
	reach := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d events", want), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) >= want
		})
	}
	send("1")
	reach(1)
	mu.Lock()
	away = true
	mu.Unlock()
	send("2")
	send("3")
	eventually(t, "the lag is visible", func() bool {
		return strings.Contains(r.metrics(), `riposte_follower_failures{follower="cloudevents/siem"} 1`)
	})
	r.end()
	mu.Lock()
	away = false
	mu.Unlock()
	r = run(t, c)
	reach(3)
	if _, taken := r.post("application/cloudevents+json", `{"specversion":"1.0","id":"x"}`); taken.SetAside != 1 || !strings.Contains(taken.Why[0], "source: is missing") {
		t.Errorf("got %+v", taken)
	}
	mu.Lock()
	defer mu.Unlock()
	kinds, ids := 0, []string{}
	for _, one := range got {
		id, kind, _ := strings.Cut(one, " ")
		if kind == "com.riposte.incident.opened" {
			kinds++
		}
		ids = append(ids, id)
	}
	if kinds != 3 || len(got) != 3 || !slices.IsSorted(ids) {
		t.Errorf("got %q", got)
	}
}
