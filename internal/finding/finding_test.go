package finding_test

import (
	"encoding/json"
	"testing"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/finding"
)

func TestSeverity(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]finding.Severity{
		"unknown": finding.Unknown, "informational": finding.Informational, "Info": finding.Informational, "LOW": finding.Low,
		"medium": finding.Medium, "High": finding.High, "critical": finding.Critical,
	} {
		got, err := finding.ParseSeverity(text)
		if got != want || err != nil {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
		encoded, err := json.Marshal(got)
		var back finding.Severity
		if err != nil || json.Unmarshal(encoded, &back) != nil || back != want {
			t.Errorf("%s: through JSON %s it is %s", text, encoded, back)
		}
	}
	for _, text := range []string{"", "fatal", "4", " high"} {
		if got, err := finding.ParseSeverity(text); err == nil || got != finding.Unknown {
			t.Errorf("%q: got %s, %v", text, got, err)
		}
	}
	if finding.Severity(200).String() != "unknown" || finding.Critical <= finding.High || finding.Informational <= finding.Unknown {
		t.Error("severities are not in order")
	}
}

func TestEntity(t *testing.T) {
	t.Parallel()
	f := finding.Finding{Entities: []entity.Entity{
		{Kind: entity.User, ID: "eve", Part: entity.Actor},
		{Kind: entity.User, ID: "ann", Part: entity.Target},
		{Kind: entity.User, ID: "bob", Part: entity.Target},
		{Kind: entity.IP, ID: "198.51.100.7", Part: entity.Origin},
		{Kind: entity.IP, ID: "198.51.100.8", Part: entity.Origin},
	}}
	for kind, want := range map[entity.Kind]string{entity.User: "ann", entity.IP: "198.51.100.7", entity.Bucket: ""} {
		got, ok := f.Entity(kind)
		if got.ID != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t", kind, got.ID, ok)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"1:a"}, {"a", "1:b"}, {"a1:b"}, {"a", "b", ""}} {
		hash := finding.Fingerprint(parts...)
		if other, taken := seen[hash]; taken || len(hash) != 32 {
			t.Errorf("%q has the fingerprint %s, as %q", parts, hash, other)
		}
		seen[hash] = parts
	}
	if once := finding.Fingerprint("a", "b"); once != finding.Fingerprint("a", "b") {
		t.Error("a fingerprint changes")
	}
}
