package detect_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/sigma"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// stopped is a rule that tests change by its lines.
const stopped = `title: Trail stopped
id: 7e65d37c-9460-44f1-b0c0-c2a3d29d8636
description: Somebody stopped it.
tags: [attack.defense-evasion, attack.t1562.008, attack.T1078, attack.privilege_escalation, attack.g0016, attack.ta0005, cve.2021.44228]
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventSource: cloudtrail.amazonaws.com, eventName: [StopLogging, DeleteTrail]}
  condition: selection
level: high
riposte: {name: trail-stopped}
`

// linked reads files of rules and correlations.
func linked(tb testing.TB, texts ...string) *sigma.Linked {
	tb.Helper()
	var all sigma.Collection
	for i, text := range texts {
		read, err := sigma.ParseCollection(fmt.Sprintf("rule-%d.yaml", i+1), []byte(text), sigma.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		all.Add(read)
	}
	ready, err := all.Link(noon)
	if err != nil {
		tb.Fatal(err)
	}
	return ready
}

func split(seen detect.Seen) ([]finding.Finding, []event.Letter) { return seen.Findings, seen.Letters }

func detector(tb testing.TB, texts ...string) *detect.Detector {
	tb.Helper()
	d, err := detect.New(linked(tb, texts...))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// record is a call of CloudTrail as its source wrote it, mapped.
func record(tb testing.TB, id, name string) event.Event {
	tb.Helper()
	text := fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"2026-03-04T12:00:00Z","eventID":%q,"eventSource":"cloudtrail.amazonaws.com",
		"eventName":%q,"awsRegion":"eu-west-1","recipientAccountId":"111122223333","sourceIPAddress":"198.51.100.7",
		"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/eve","userName":"eve","accountId":"111122223333"},
		"requestParameters":{"name":"main"}}`, id, name)
	return mapped(tb, text)
}

func mapped(tb testing.TB, text string) event.Event {
	tb.Helper()
	events, err := awslog.Record([]byte(text))
	if err != nil || len(events) != 1 {
		tb.Fatalf("%d events, %v", len(events), err)
	}
	events[0].Origin, events[0].Received = "test", noon.Add(time.Minute)
	return events[0]
}

func TestAFindingOfARule(t *testing.T) {
	t.Parallel()
	d := detector(t, stopped)
	ev := record(t, "e-1", "StopLogging")
	found, letters := split(d.Detect([]event.Event{record(t, "e-0", "StartLogging"), ev}))
	if len(found) != 1 || len(letters) != 0 {
		t.Fatalf("%d findings, %d letters", len(found), len(letters))
	}
	got := found[0]
	want := finding.Finding{
		Fingerprint: finding.Fingerprint("riposte", "trail-stopped", ev.Key), Product: finding.Riposte, Type: "rule:trail-stopped",
		Title: "Trail stopped", Description: "Somebody stopped it.", Severity: finding.High, FirstSeen: noon, LastSeen: noon,
		Received: noon.Add(time.Minute), Count: 1, Account: "111122223333", Region: "eu-west-1",
		Tactics: []string{"defense-evasion", "privilege-escalation"}, Attack: []string{"T1562.008", "T1078"},
		Entities: ev.Entities, Events: []string{ev.Key}, Rule: "trail-stopped", Version: d.Rules()[0].Hash,
		Matched: []finding.Matched{{Field: "eventSource", Value: "cloudtrail.amazonaws.com"}, {Field: "eventName", Value: "StopLogging"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if trail, ok := got.Entity(entity.Trail); !ok || !strings.HasSuffix(trail.ID, "main") {
		t.Errorf("no trail among %+v", got.Entities)
	}
}

// A finding is itself by its rule and its event: the same one, delivered again, is the same finding.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	other := strings.NewReplacer("trail-stopped", "trail-stopped-too", "7e65d37c", "8e65d37c").Replace(stopped)
	d := detector(t, stopped, other)
	found, _ := split(d.Detect([]event.Event{record(t, "e-1", "StopLogging"), record(t, "e-2", "StopLogging")}))
	again, _ := split(d.Detect([]event.Event{record(t, "e-1", "StopLogging")}))
	prints := map[string]bool{}
	for _, f := range found {
		prints[f.Fingerprint] = true
	}
	if len(found) != 4 || len(prints) != 4 || len(again) != 2 || again[0].Fingerprint != found[0].Fingerprint {
		t.Errorf("%d findings of %d fingerprints", len(found), len(prints))
	}
}

func TestNamesOfRules(t *testing.T) {
	t.Parallel()
	named := func(name string) string { return strings.Replace(stopped, "{name: trail-stopped}", name, 1) }
	for name, test := range map[string]struct {
		rule string
		want string // its name, or what the error says
	}{
		"own":            {stopped, "trail-stopped"},
		"by id":          {strings.Replace(stopped, "riposte: {name: trail-stopped}\n", "", 1), "7e65d37c-9460-44f1-b0c0-c2a3d29d8636"},
		"ours is no map": {named("7"), "7e65d37c-9460-44f1-b0c0-c2a3d29d8636"},
		"empty":          {named(`{name: ""}`), `"" is none`},
		"no text":        {named("{name: 7}"), `"" is none`},
		"spaces":         {named("{name: trail stopped}"), `"trail stopped" is none`},
		"short":          {named("{name: ab}"), `"ab" is none`},
		"upper case":     {named("{name: Trail}"), `"Trail" is none`},
		"a pattern":      {named(`{name: "trail-*"}`), `"trail-*" is none`},
		"long":           {named("{name: " + strings.Repeat("a", 81) + "}"), "is none"},
	} {
		d, err := detect.New(linked(t, test.rule))
		if err == nil {
			if got := d.Rules()[0].Name; got != test.want {
				t.Errorf("%s: called %q, want %q", name, got, test.want)
			}
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "rule-1.yaml:1: ") {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

func TestTwoRulesOfOneName(t *testing.T) {
	t.Parallel()
	other := strings.Replace(stopped, "7e65d37c", "8e65d37c", 1)
	_, err := detect.New(linked(t, stopped, other))
	if !fault.Is(err, fault.Invalid) || err.Error() != "rule-2.yaml:1: the rule is called trail-stopped, as the one in rule-1.yaml:1" {
		t.Errorf("got %v", err)
	}
}

func TestRulesAreSorted(t *testing.T) {
	t.Parallel()
	d := detector(t, strings.NewReplacer("trail-stopped", "zzz", "7e6", "8e6").Replace(stopped), stopped)
	if got := d.Rules(); len(got) != 2 || got[0].Name != "trail-stopped" || got[1].Name != "zzz" {
		t.Errorf("got %d rules", len(got))
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]finding.Severity{
		"level: informational": finding.Informational, "level: low": finding.Low, "level: medium": finding.Medium,
		"level: high": finding.High, "level: critical": finding.Critical, "": finding.Medium,
	} {
		d := detector(t, strings.Replace(stopped, "level: high", level, 1))
		found, _ := split(d.Detect([]event.Event{record(t, "e-1", "StopLogging")}))
		if len(found) != 1 || found[0].Severity != want {
			t.Errorf("%q: got %+v, want %s", level, found, want)
		}
	}
}

// Rules of other sources stay silent, and other sources ask no rules.
func TestRulesAreForTheirSource(t *testing.T) {
	t.Parallel()
	azure := strings.Replace(stopped, "{product: aws, service: cloudtrail}", "{product: azure}", 1)
	other := strings.NewReplacer("service: cloudtrail", "service: guardduty", "trail-stopped", "other", "7e6", "8e6").Replace(stopped)
	all := strings.NewReplacer("{product: aws, service: cloudtrail}", "{product: aws}", "trail-stopped", "any-of-aws", "7e6", "9e6").Replace(stopped)
	d := detector(t, azure, other, all)
	ev := record(t, "e-1", "StopLogging")
	found, _ := split(d.Detect([]event.Event{ev}))
	if len(found) != 1 || found[0].Rule != "any-of-aws" {
		t.Errorf("got %+v", found)
	}
	ev.Source = event.EventBridge
	if found, letters := split(d.Detect([]event.Event{ev})); len(found) != 0 || len(letters) != 0 {
		t.Errorf("got %+v, %+v of another source", found, letters)
	}
}

func TestFindingsOfProducts(t *testing.T) {
	t.Parallel()
	alarm := `{"id":"a-1","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"111122223333",
		"time":"2026-03-04T12:00:00Z","region":"eu-west-1","resources":["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:errors"],
		"detail":{"alarmName":"errors","state":{"value":%q,"timestamp":"2026-03-04T12:00:00.000+0000"}}}`
	d := detector(t, stopped)
	found, letters := split(d.Detect([]event.Event{
		mapped(t, fmt.Sprintf(alarm, "ALARM")), record(t, "e-1", "StopLogging"), mapped(t, fmt.Sprintf(alarm, "INSUFFICIENT_DATA")),
		mapped(t, fmt.Sprintf(alarm, "OK")),
	}))
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %s %s resolved=%t", f.Product, f.Type, f.Severity, f.Resolved))
	}
	want := []string{
		"cloudwatch cloudwatch:errors medium resolved=false", "riposte rule:trail-stopped high resolved=false",
		"cloudwatch cloudwatch:errors medium resolved=true",
	}
	if diff := cmp.Diff(want, got); diff != "" || len(letters) != 0 {
		t.Error(diff, letters)
	}
	if found[0].Fingerprint != found[2].Fingerprint {
		t.Error("an alarm that is over is another finding")
	}
}

// What can't be evaluated is set aside with its reason; the rest goes on.
func TestWhatCantBeReadBecomesALetter(t *testing.T) {
	t.Parallel()
	d := detector(t, stopped)
	broken := map[string]event.Event{
		"not JSON":  {Source: event.CloudTrail, Raw: []byte(`{"eventName": `)},
		"no object": {Source: event.CloudTrail, Raw: []byte(`["StopLogging"]`)},
		"nothing":   {Source: event.CloudTrail},
		"too deep":  {Source: event.CloudTrail, Raw: []byte(`{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`)},
		"product":   {Source: event.GuardDuty, Raw: []byte(`[]`)},
		"no time": {
			Source: event.CloudWatchAlarm, Name: "errors", Raw: []byte(`{"AlarmName":"errors","NewStateValue":"ALARM"}`),
		},
	}
	for name, ev := range broken {
		ev.Origin, ev.Received, ev.Key = "s3://logs/"+name, noon, name
		found, letters := split(d.Detect([]event.Event{ev, record(t, "e-1", "StopLogging")}))
		if len(found) != 1 || len(letters) != 1 {
			t.Errorf("%s: %d findings, %d letters", name, len(found), len(letters))
			continue
		}
		want := event.Letter{
			Format: awslog.FormatRecord, Origin: ev.Origin, Reason: letters[0].Reason, Raw: ev.Raw, Received: noon, Count: 1,
		}
		if diff := cmp.Diff(want, letters[0]); diff != "" || letters[0].Reason == "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Whoever writes the event doesn't decide how large a finding is.
func TestMatchedFieldsAreBounded(t *testing.T) {
	t.Parallel()
	var selection, fields strings.Builder
	for i := range 40 {
		fmt.Fprintf(&selection, "    f%d|contains: a\n", i)
		fmt.Fprintf(&fields, `,"f%d":%q`, i, strings.Repeat("a", 100_000))
	}
	d := detector(t, strings.Replace(stopped,
		"  selection: {eventSource: cloudtrail.amazonaws.com, eventName: [StopLogging, DeleteTrail]}\n", "  selection:\n"+selection.String(), 1))
	ev := record(t, "e-1", "StopLogging")
	ev.Raw = append(ev.Raw[:len(ev.Raw)-1:len(ev.Raw)-1], fields.String()+"}"...)
	found, letters := split(d.Detect([]event.Event{ev}))
	if len(found) != 1 || len(letters) != 0 || len(found[0].Matched) != 20 {
		t.Fatalf("%d findings, %+v letters", len(found), letters)
	}
	text, err := json.Marshal(found[0].Matched)
	if err != nil || len(text) > 64<<10 {
		t.Errorf("matched fields of %d bytes, %v", len(text), err)
	}
}

func TestNothing(t *testing.T) {
	t.Parallel()
	d, err := detect.New(linked(t))
	if err != nil {
		t.Fatal(err)
	}
	if found, letters := split(d.Detect([]event.Event{record(t, "e-1", "StopLogging")})); found != nil || letters != nil || len(d.Rules()) != 0 {
		t.Errorf("got %v, %v of no rules", found, letters)
	}
}

// Rules read findings of GuardDuty as EventBridge hands them over, whichever way they came, and events of
// Kubernetes by their own log source. What is there for correlations alone makes no finding.
func TestOtherSourcesThanCloudTrail(t *testing.T) {
	t.Parallel()
	d := detector(t, `title: A key
id: a-key
name: a_key
logsource: {product: aws, service: guardduty}
detection:
  selection: {detail-type: GuardDuty Finding, detail.resource.accessKeyDetails.accessKeyId|startswith: AKIA}
  condition: selection
---
title: Two findings about one key
id: two-about-one-key
correlation:
  type: event_count
  rules: [a_key]
  group-by: [detail.resource.accessKeyDetails.accessKeyId]
  timespan: 1h
  condition: {gte: 2}
`, `title: Secrets read
id: secrets-read
logsource: {product: kubernetes, service: audit}
detection:
  selection: {verb: list, objectRef.resource: secrets}
  condition: selection
`)
	bare := `{"schemaVersion":"2.0","accountId":"111122223333","region":"eu-west-1","id":"f-1","type":"Recon:IAMUser/MaliciousIPCaller","severity":5,
		"createdAt":"2026-03-04T12:00:00Z","updatedAt":"2026-03-04T12:00:00Z","title":"t","resource":{"resourceType":"AccessKey","accessKeyDetails":{"accessKeyId":"AKIAEXAMPLE"}},
		"service":{"count":1}}`
	wrapped := `{"id":"env","detail-type":"GuardDuty Finding","source":"aws.guardduty","account":"111122223333","region":"eu-west-1","time":"2026-03-04T12:00:00Z","resources":[],"detail":` + bare + `}`
	audit := `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","verb":"list","user":{"username":"eve"},
		"sourceIPs":["198.51.100.7"],"objectRef":{"resource":"secrets","namespace":"prod"},"requestReceivedTimestamp":"2026-03-04T12:00:00.000000Z","stageTimestamp":"2026-03-04T12:00:00.000000Z"}`
	for name, text := range map[string]string{"from S3": bare, "by EventBridge": wrapped} {
		seen := d.Detect([]event.Event{mapped(t, text)})
		if len(seen.Findings) != 1 || seen.Findings[0].Product != finding.GuardDuty || len(seen.Observations) != 1 || len(seen.Letters) != 0 {
			t.Errorf("%s: %d findings, %d observations, %d letters; want GuardDuty's own and one observation",
				name, len(seen.Findings), len(seen.Observations), len(seen.Letters))
		}
	}
	seen := d.Detect([]event.Event{mapped(t, audit)})
	if len(seen.Findings) != 1 || seen.Findings[0].Type != "rule:secrets-read" {
		t.Errorf("got %+v of Kubernetes' audit log", seen.Findings)
	}
}

// What a product found counts, though rules can't read it: it has more values than they take.
func TestAFindingThatRulesCantRead(t *testing.T) {
	t.Parallel()
	text := `{"schemaVersion":"2.0","accountId":"111122223333","region":"eu-west-1","id":"f-1","type":"Recon:IAMUser/X","severity":5,
		"updatedAt":"2026-03-04T12:00:00Z","resource":{},"service":{"count":1,"x":[` + strings.Repeat("0,", 270_000) + `0]}}`
	seen := detector(t, stopped).Detect([]event.Event{mapped(t, text)})
	if len(seen.Findings) != 1 || seen.Findings[0].Product != finding.GuardDuty || len(seen.Letters) != 1 {
		t.Errorf("%d findings, %d letters; want GuardDuty's, and a letter of what rules can't read", len(seen.Findings), len(seen.Letters))
	}
}
