package sigma_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riposte-sec/riposte/sigma"
)

const whole = `title: Trail stopped
id: 11111111-2222-3333-4444-555555555555
name: trail_stopped
related:
  - {id: x, type: similar}
status: test
level: high
description: Somebody stops a trail.
license: MIT
author: A, B
date: 2024-01-02
modified: 2024-01-03
references: [https://example.com]
tags: [attack.t1562.008]
falsepositives: Unknown
fields: [eventName]
scope: [account]
logsource: {product: aws, service: cloudtrail, definition: Management events, account: any}
detection:
  call:
    eventSource: cloudtrail.amazonaws.com
    eventName: [StopLogging, DeleteTrail]
  by:
    userIdentity.arn|contains: ':user/'
  not_ours: {userIdentity.arn|endswith: /terraform}
  condition: call and by and not not_ours
owner: {team: blue}
`

func TestRuleRead(t *testing.T) {
	got := parseOne(t, whole, sigma.Options{})
	sum := sha256.Sum256([]byte(whole))
	want := &sigma.Rule{
		Header: sigma.Header{
			ID: "11111111-2222-3333-4444-555555555555", Name: "trail_stopped", Title: "Trail stopped",
			Status: "test", Level: "high", Description: "Somebody stops a trail.", License: "MIT", Author: "A, B",
			Date: "2024-01-02", Modified: "2024-01-03", References: []string{"https://example.com"},
			Tags: []string{"attack.t1562.008"}, FalsePositives: []string{"Unknown"},
			Related: []sigma.Related{{ID: "x", Type: "similar"}},
			File:    "rule.yml", Line: 1, Hash: hex.EncodeToString(sum[:]),
			Custom: map[string]any{"owner": map[string]any{"team": "blue"}},
		}, Fields: []string{"eventName"}, Scope: []string{"account"},
		LogSource: sigma.LogSource{Product: "aws", Service: "cloudtrail", Definition: "Management events"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(sigma.Rule{})); diff != "" {
		t.Errorf("the rule differs (-want +got):\n%s", diff)
	}
}

func TestMatchTells(t *testing.T) {
	r := parseOne(t, whole, sigma.Options{})
	arn := "arn:aws:iam::1:user/" + strings.Repeat("é", 300)
	m, ok := r.Match(sigma.NewEvent(map[string]any{
		"eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging",
		"userIdentity": map[string]any{"arn": arn},
	}))
	if !ok {
		t.Fatal("got no match")
	}
	want := sigma.Match{Fields: []sigma.Matched{
		{Selection: "call", Field: "eventSource", Value: "cloudtrail.amazonaws.com", Pattern: "cloudtrail.amazonaws.com"},
		{Selection: "call", Field: "eventName", Value: "StopLogging", Pattern: "StopLogging"},
		{Selection: "by", Field: "userIdentity.arn", Value: arn[:256], Pattern: "contains: :user/"},
	}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("the match differs (-want +got):\n%s", diff)
	}
}

func TestMatchTellsOfAbsence(t *testing.T) {
	r := parseOne(t, ruleText("s:\n  - {a: null, b|exists: true, c|neq: [x, y], d|all: [1, 2], e|neq: z}\n  - word\n  - {f: 1}\ncondition: s"), sigma.Options{})
	m, ok := r.Match(parseEvent(t, []byte(`{"b":1,"c":"v","d":[1,2],"g":"A WORD"}`)))
	if !ok {
		t.Fatal("got no match")
	}
	want := sigma.Match{Fields: []sigma.Matched{
		{Selection: "s", Field: "a", Pattern: "null"},
		{Selection: "s", Field: "b", Pattern: "exists: true"},
		{Selection: "s", Field: "c", Value: "v", Pattern: "neq: x"},
		{Selection: "s", Field: "d", Value: "1", Pattern: "all: 1"},
		{Selection: "s", Field: "d", Value: "2", Pattern: "all: 2"},
		{Selection: "s", Field: "e", Pattern: "neq: z"},
		{Selection: "s", Value: "A WORD", Pattern: "word"},
	}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("the match differs (-want +got):\n%s", diff)
	}
}

func TestMatchIsBounded(t *testing.T) {
	var all, event strings.Builder
	for range 200 {
		all.WriteString("'*',")
		event.WriteString(`"x",`)
	}
	r := parseOne(t, ruleText("s: {a|all: ["+all.String()+"]}\ncondition: s"), sigma.Options{})
	m, ok := r.Match(parseEvent(t, []byte(`{"a":[`+event.String()+`1]}`)))
	if !ok || len(m.Fields) != 64 {
		t.Errorf("got %v with %d fields, want 64", ok, len(m.Fields))
	}
}

func TestLogSourceCovers(t *testing.T) {
	for _, c := range []struct {
		rule                       sigma.LogSource
		product, service, category string
		want                       bool
	}{
		{sigma.LogSource{Product: "aws", Service: "cloudtrail"}, "aws", "cloudtrail", "", true},
		{sigma.LogSource{Product: "aws", Service: "cloudtrail"}, "AWS", "CloudTrail", "x", true},
		{sigma.LogSource{Product: "aws"}, "aws", "vpcflow", "", true},
		{sigma.LogSource{Product: "aws", Service: "cloudtrail"}, "aws", "", "", false},
		{sigma.LogSource{Category: "firewall"}, "aws", "vpcflow", "firewall", true},
		{sigma.LogSource{Category: "firewall"}, "aws", "vpcflow", "", false},
		{sigma.LogSource{}, "a", "b", "c", true},
	} {
		if got := c.rule.Covers(c.product, c.service, c.category); got != c.want {
			t.Errorf("%+v covers %s %s %s: got %v, want %v", c.rule, c.product, c.service, c.category, got, c.want)
		}
	}
}

func TestSet(t *testing.T) {
	rule := func(id, source, value string) *sigma.Rule {
		return parseOne(t, "title: T\nid: "+id+"\nlogsource: {"+source+"}\ndetection: {s: {a: "+value+"}, condition: s}\n", sigma.Options{})
	}
	rules := []*sigma.Rule{
		rule("1", "product: aws", "x"), rule("2", "product: azure", "x"), rule("3", "product: aws", "'*'"),
		rule("4", "service: cloudtrail", "[x, X, y]"), rule("5", "product: aws", "y"), rule("''", "product: aws", "x"), rule("''", "product: aws", "z"),
	}
	set := newSet(t, rules)
	var got []string
	for _, hit := range set.Evaluate(parseEvent(t, []byte(`{"a":["X","x"]}`)), "aws", "cloudtrail", "") {
		got = append(got, hit.Rule.ID)
	}
	if diff := cmp.Diff([]string{"1", "3", "4", ""}, got); diff != "" {
		t.Errorf("hits differ (-want +got):\n%s", diff)
	}
	if got := len(set.Rules()); got != len(rules) {
		t.Errorf("got %d rules, want %d", got, len(rules))
	}
	_, err := sigma.NewSet(append(rules, rules[1]))
	if err == nil || asError(t, err).Key != "id" {
		t.Errorf("got %v, want a duplicate ID refused", err)
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	set := newSet(t, []*sigma.Rule{parseOne(t, whole, sigma.Options{}), parseOne(t, ruleText("s: {a|contains: x}\ncondition: s"), sigma.Options{})})
	e := parseEvent(t, []byte(`{"a":{"k":"X"}}`))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if hits := set.Evaluate(e, "aws", "cloudtrail", ""); len(hits) != 1 {
				t.Errorf("got %d hits, want 1", len(hits))
			}
		})
	}
	group.Wait()
}
