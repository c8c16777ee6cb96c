package ledger_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/record"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("", 3600)
	for name, test := range map[string]struct {
		entry ledger.Entry
		want  string
	}{
		"smallest": {
			ledger.Entry{Record: record.Record{Time: noon, Kind: "k"}},
			`{"actor":"","kind":"k","seq":0,"time":"2026-03-04T12:00:00.123456789Z"}`,
		},
		"every field, in UTC": {
			ledger.Entry{Seq: 7, Record: record.Record{
				Time: time.Date(2026, 3, 4, 13, 0, 0, 0, berlin), Kind: "k", Actor: "ann", Incident: "i", Run: "r", Step: "s",
				Body: json.RawMessage(` { "b" : 1, "a" : [ true, null, "x" ] } `),
			}},
			`{"actor":"ann","body":{"a":[true,null,"x"],"b":1},"incident":"i","kind":"k","run":"r","seq":7,"step":"s","time":"2026-03-04T12:00:00Z"}`,
		},
		"numbers keep their digits": {
			ledger.Entry{Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`[1.0,1e3,9007199254740993,-0]`)}},
			`{"actor":"","body":[1.0,1e3,9007199254740993,-0],"kind":"k","seq":0,"time":"2026-03-04T12:00:00.123456789Z"}`,
		},
		"shortest escapes": {
			ledger.Entry{Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`"\u003c\u2028\u00e9\/\u0001\n\u007f\"\\"`)}},
			"{\"actor\":\"\",\"body\":\"<\u2028é/\\u0001\\n\u007f\\\"\\\\\",\"kind\":\"k\",\"seq\":0,\"time\":\"2026-03-04T12:00:00.123456789Z\"}",
		},
		"keys by their UTF-16 units": {
			ledger.Entry{Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`{"` + "\ufb33" + `":1,"` + "\U0001F600" + `":2,"b":3,"a":4,"":5}`)}},
			`{"actor":"","body":{"":5,"a":4,"b":3,"` + "\U0001F600" + `":2,"` + "\ufb33" + `":1},"kind":"k","seq":0,"time":"2026-03-04T12:00:00.123456789Z"}`,
		},
		"bytes that aren't UTF-8": {
			ledger.Entry{Record: record.Record{Time: noon, Kind: "k", Actor: "a\xffb", Body: json.RawMessage("\"\xff\"")}},
			`{"actor":"a` + "\ufffd" + `b","body":"` + "\ufffd" + `","kind":"k","seq":0,"time":"2026-03-04T12:00:00.123456789Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.entry.Canonical()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			parsed, err := ledger.ParseEntry(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parsed.Canonical()
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("written again it is %s, %v", again, err)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	for name, entry := range map[string]ledger.Entry{
		"a year of five digits":  {Record: record.Record{Time: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), Kind: "k"}},
		"a body that isn't JSON": {Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`{`)}},
		"a body of two values":   {Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`1 2`)}},
		"a huge body":            {Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(`"` + strings.Repeat("x", 17<<20) + `"`)}},
		"a deep body":            {Record: record.Record{Time: noon, Kind: "k", Body: json.RawMessage(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := entry.Canonical(); !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v, want an Invalid error", err)
			}
		})
	}
}

func TestParseEntryRefusesOtherWritings(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `{}`,
		`{"actor":"","kind":"k","seq":0,"time":"2026-03-04T12:00:00Z"} `,
		`{"kind":"k","actor":"","seq":0,"time":"2026-03-04T12:00:00Z"}`,
		`{"Actor":"","kind":"k","seq":0,"time":"2026-03-04T12:00:00Z"}`,
		`{"actor":"","kind":"k","seq":0,"time":"2026-03-04T13:00:00+01:00"}`,
		`{"actor":"","kind":"k","more":1,"seq":0,"time":"2026-03-04T12:00:00Z"}`,
		`{"actor":"","kind":"k","seq":00,"time":"2026-03-04T12:00:00Z"}`,
		`{"actor":"","body":{"a":1,"a":2},"kind":"k","seq":0,"time":"2026-03-04T12:00:00Z"}`,
	} {
		if _, err := ledger.ParseEntry([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}
