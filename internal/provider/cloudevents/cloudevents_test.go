package cloudevents_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/courier"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/cloudevents"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/secret"
)

const finding = `{"type":"acme:mining","title":"t","severity":"low"}`

func structuredEvent(id string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"urn:x","type":"com.riposte.finding","time":"2026-11-24T10:00:00Z","data":` + finding + `}`
}

func TestModes(t *testing.T) {
	t.Parallel()
	binary := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"a%20b"}, "Ce-Source": {"urn:x"}, "Ce-Type": {"com.riposte.finding"}, "Ce-Time": {"2026-11-24T10:00:00Z"}}
	signed := binary.Clone()
	signed.Set("Riposte-Signature", "v1=00")
	twice := binary.Clone()
	twice.Add("Ce-Id", "c")
	for name, test := range map[string]struct {
		kind, body string
		header     http.Header
		keys       string
		letters    int
		refused    string
		others     bool
	}{
		"structured":        {kind: "application/cloudevents+json; charset=utf-8", body: structuredEvent("1"), keys: "cloudevents|urn:x|1"},
		"batched":           {kind: "application/cloudevents-batch+json", body: "[" + structuredEvent("1") + `,{"id":1},` + structuredEvent("2") + "]", keys: "cloudevents|urn:x|1 cloudevents|urn:x|2", letters: 1},
		"binary":            {kind: "application/json", body: finding, header: binary, keys: "cloudevents|urn:x|a b"},
		"binary, no JSON":   {kind: "text/plain", body: "\xff", header: binary, letters: 1},
		"binary and signed": {kind: "application/json", body: finding, header: signed, refused: "structured mode"},
		"an id twice":       {kind: "application/json", body: finding, header: twice, refused: "more than once"},
		"in another format": {kind: "application/cloudevents+avro", refused: "are read in JSON"},
		"no batch":          {kind: "application/cloudevents-batch+json", body: "{}", refused: "not a batch"},
		"none":              {kind: "application/json", body: "{}", others: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(test.body))
			maps.Copy(r.Header, test.header)
			r.Header.Set("Content-Type", test.kind)
			read, err := cloudevents.Intake(r)
			if err == nil && (read == nil) != test.others {
				t.Fatalf("read as one is %t", read != nil)
			}
			if read == nil {
				if err != nil && (test.refused == "" || !strings.Contains(err.Error(), test.refused) || !fault.Is(err, fault.Invalid)) {
					t.Errorf("got %v, want %q", err, test.refused)
				}
				return
			}
			batch, err := read([]byte(test.body))
			if test.refused != "" {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want %q", err, test.refused)
				}
				return
			}
			var keys []string
			for _, ev := range batch.Events {
				keys = append(keys, ev.Key)
			}
			if got := strings.Join(keys, " "); err != nil || got != test.keys || len(batch.Letters) != test.letters {
				t.Errorf("got %q, %d letters, %v", got, len(batch.Letters), err)
			}
		})
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	var asked *http.Request
	var body []byte
	status := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	now := func() time.Time { return time.Unix(1795514400, 0) }
	config := cloudevents.Config{Endpoints: map[string]cloudevents.Endpoint{"siem": {
		URL: server.URL + "/in", Secret: secret.New("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), Token: secret.New("hunter2-token"),
		Types: []string{"incident.*", "run.ended"},
	}}}
	all, err := cloudevents.New(config, "riposte.dev/ledger/x", courier.New(nil, now), now)
	if err != nil {
		t.Fatal(err)
	}
	to := all[0]
	for kind, want := range map[record.Kind]bool{record.RunEnded: true, record.IncidentOpened: true, record.RunStarted: false} {
		if got := to.Wants(kind); got != want {
			t.Errorf("wants %s: %t", kind, got)
		}
	}
	entry := cloudevents.Entry{Seq: 41, Record: record.New(now(), record.RunEnded, "riposte", nil).About("INC", "RUN", ""), Canonical: []byte(`{"seq":41}`)}
	if err := to.Send(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": "41", "source": "riposte.dev/ledger/x", "type": "com.riposte.run.ended", "subject": "RUN",
		"time": "2026-11-24T10:00:00Z", "datacontenttype": "application/json", "data": map[string]any{"seq": 41.0},
	}
	want["time"] = now().UTC().Format(time.RFC3339)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if asked.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" || asked.Header.Get("Authorization") != "Bearer hunter2-token" ||
		asked.Header.Get("Webhook-Id") != "41" || !strings.HasPrefix(asked.Header.Get("Webhook-Signature"), "v1,") {
		t.Errorf("headers are %v", asked.Header)
	}
	for answered, kind := range map[int]fault.Kind{http.StatusBadRequest: fault.Invalid, http.StatusUnauthorized: fault.Denied, http.StatusBadGateway: fault.Transient} {
		status = answered
		if err := to.Send(t.Context(), entry); !fault.Is(err, kind) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("answered %d: %v", answered, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for want, wrong := range map[string]cloudevents.Endpoint{
		"cloudevents.endpoints.e.url: ":     {URL: "http://example.com/"},
		"cloudevents.endpoints.e.secret: ":  {URL: "https://example.com/", Secret: secret.New("hunter2")},
		"cloudevents.endpoints.e.types[1]:": {URL: "https://example.com/", Types: []string{"run.*", "run.begun"}},
		"cloudevents.endpoints.e.timeout: ": {URL: "https://example.com/", Timeout: time.Hour},
	} {
		_, err := cloudevents.New(cloudevents.Config{Endpoints: map[string]cloudevents.Endpoint{"e": wrong}}, "", nil, time.Now)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
