package cloudevent_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/cloudevent"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

const (
	ours = `{"specversion":"1.0","id":"7","source":"https://scanner.example.com","type":"com.riposte.finding","time":"2026-11-24T10:00:00Z","ext":"x",
		"data":{"type":"acme:mining","title":"A pod mines","severity":"high","account":"111122223333","region":"eu-west-1","techniques":["T1496"],
		"reference":{"ticket":"9"},"entities":[{"kind":"access_key","id":"AKIAEXAMPLE","part":"actor"},{"kind":"ip","id":"198.51.100.7","part":"origin"}]}}`
	trail = `{"eventVersion":"1.08","eventID":"e-1","eventTime":"2026-11-20T10:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"123456789012"}`
)

func wrapped(data string) string {
	return `{"specversion":"1.0","id":"1","source":"urn:x","type":"com.amazonaws.cloudtrail","data":` + data + `}`
}

func TestOwnFinding(t *testing.T) {
	t.Parallel()
	events, err := cloudevent.Record([]byte(ours))
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	f, is, err := cloudevent.Made(events[0])
	if err != nil || !is {
		t.Fatal(is, err)
	}
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	want := finding.Finding{
		Fingerprint: finding.Fingerprint("webhook", "https://scanner.example.com", "7"), Product: finding.Webhook, Type: "webhook:acme:mining",
		Title: "A pod mines", Severity: finding.High, FirstSeen: at, LastSeen: at, Count: 1, Account: "111122223333", Region: "eu-west-1",
		Attack: []string{"T1496"}, Reference: map[string]string{"ticket": "9"}, Events: []string{"cloudevents|https://scanner.example.com|7"},
		Entities: []entity.Entity{
			{Kind: entity.AccessKey, ID: "AKIAEXAMPLE", Part: entity.Actor, From: "data.entities[0]"},
			{Kind: entity.IP, ID: "198.51.100.7", Part: entity.Origin, From: "data.entities[1]"},
		},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ev := events[0]; ev.Key != want.Events[0] || ev.Source != event.Webhook || !ev.Time.Equal(at) || string(ev.Raw) != ours {
		t.Errorf("event is %+v", ev)
	}
}

// TestFingerprint makes one finding of two events where the sender says so, within one source only.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	prints := map[string]bool{}
	for _, change := range [][]string{{}, {`"id":"7"`, `"id":"8"`}, {"scanner.example", "other.example"}} {
		text := strings.Replace(ours, `"title"`, `"fingerprint":"p","title"`, 1)
		if len(change) > 0 {
			text = strings.Replace(text, change[0], change[1], 1)
		}
		events, err := cloudevent.Record([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := cloudevent.Made(events[0])
		if err != nil {
			t.Fatal(err)
		}
		prints[f.Fingerprint] = true
	}
	if len(prints) != 2 {
		t.Errorf("got %d fingerprints, want one for each source", len(prints))
	}
}

// TestAWSInside reads what AWS wrote, whichever way it is inside; its own key is what it is known by.
func TestAWSInside(t *testing.T) {
	t.Parallel()
	quoted, err := json.Marshal(trail)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := cloudevent.Binary(map[string]string{"specversion": "1.0", "id": "1", "source": "urn:x", "type": "t"}, "application/json", []byte(trail))
	if err != nil {
		t.Fatal(err)
	}
	envelope := `{"id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","account":"1","region":"r","time":"2026-11-24T10:00:00Z","detail":` + trail + `}`
	for name, text := range map[string]string{
		"a record": wrapped(trail), "text": wrapped(string(quoted)), "of EventBridge": wrapped(envelope), "binary mode": string(binary),
		"base64": strings.Replace(wrapped("1"), `"data":1`, `"data_base64":"eyJldmVudFZlcnNpb24iOiIxLjA4IiwiZXZlbnRJRCI6ImUtMSIsImV2ZW50VGltZSI6IjIwMjYtMTEtMjBUMTA6MDA6MDBaIiwiZXZlbnRTb3VyY2UiOiJjbG91ZHRyYWlsLmFtYXpvbmF3cy5jb20iLCJldmVudE5hbWUiOiJTdG9wTG9nZ2luZyIsImF3c1JlZ2lvbiI6ImV1LWNlbnRyYWwtMSIsInJlY2lwaWVudEFjY291bnRJZCI6IjEyMzQ1Njc4OTAxMiJ9"`, 1),
	} {
		events, err := cloudevent.Record([]byte(text))
		if err != nil || len(events) != 1 || events[0].Key != "aws.cloudtrail|e-1|123456789012" {
			t.Errorf("%s: got %+v, %v", name, events, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string][2]string{
		`specversion: "0.3" is not 1.0`:          {`"specversion":"1.0"`, `"specversion":"0.3"`},
		"id: is missing":                         {`"id":"7"`, `"id":""`},
		"source: has control characters":         {"scanner.example.com", `a\u0000b`},
		"time: \"now\" is not a time":            {`"2026-11-24T10:00:00Z"`, `"now"`},
		"data.last_seen: is missing":             {`"time":"2026-11-24T10:00:00Z",`, ``},
		"unknown field \"titel\"":                {`"title"`, `"titel"`},
		"data.title: is missing":                 {`"A pod mines"`, `" "`},
		`data.severity: "bad" is not`:            {`"high"`, `"bad"`},
		`data.type: "*" is not a name`:           {`"acme:mining"`, `"*"`},
		`data.entities[0].kind: "thing" is no`:   {`"access_key"`, `"thing"`},
		`data.entities[1].id: "mars" is no IP`:   {`"198.51.100.7"`, `"mars"`},
		`data.entities[0].part: "boss" is not`:   {`"actor"`, `"boss"`},
		"datacontenttype: \"text/plain\" is not": {`"ext":"x"`, `"datacontenttype":"text/plain"`},
		"data: is missing":                       {`"data":{`, `"dat":{`},
	} {
		text := strings.Replace(ours, change[0], change[1], 1)
		_, err := cloudevent.Record([]byte(text))
		if text == ours || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an Invalid error with %q", err, want)
		}
	}
}

// TestSchema holds the documented schema against what is read.
func TestSchema(t *testing.T) {
	t.Parallel()
	type object struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	var schema object
	if err := json.Unmarshal(cloudevent.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var entities struct{ Items object }
	if err := json.Unmarshal(schema.Properties["entities"], &entities); err != nil {
		t.Fatal(err)
	}
	var kinds struct{ Enum []entity.Kind }
	if err := json.Unmarshal(entities.Items.Properties["kind"], &kinds); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entity.Kinds(), kinds.Enum); diff != "" {
		t.Errorf("kinds of entities (-want +got):\n%s", diff)
	}
	for of, fields := range map[reflect.Type]map[string]json.RawMessage{
		cloudevent.HandedType: schema.Properties, cloudevent.HandedEntityType: entities.Items.Properties,
	} {
		var names []string
		for field := range of.Fields() {
			names = append(names, field.Tag.Get("json"))
		}
		for _, name := range names {
			if fields[name] == nil {
				t.Errorf("the schema lacks %s", name)
			}
		}
		for name := range fields {
			if !slices.Contains(names, name) {
				t.Errorf("the schema has %s, which is not read", name)
			}
		}
	}
	for _, name := range schema.Required { // each is asked for
		text := strings.Replace(ours, `"`+name+`":`, `"description":`, 2)
		if name == "type" {
			text = strings.Replace(ours, `"type":"acme:mining",`, "", 1)
		}
		if _, err := cloudevent.Record([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s is required, and may be left out: %v", name, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(ours))
	f.Add([]byte(wrapped(trail)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		events, err := cloudevent.Record(raw)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("the error isn't of kind Invalid: %v", err)
		}
		for _, ev := range events {
			if _, is, err := cloudevent.Made(ev); ev.Source == event.Webhook && (!is || err != nil) {
				t.Errorf("an event of ours is no finding: %v", err)
			}
		}
	})
}
