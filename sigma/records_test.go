package sigma_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func cutRecords(text []byte) ([]string, error) {
	var all []string
	for record, err := range sigma.Records(text) {
		if err != nil {
			return all, err
		}
		all = append(all, string(record))
	}
	return all, nil
}

func TestRecords(t *testing.T) {
	for text, want := range map[string][]string{
		`{"Records":[{"a":1},{"b":"]}\"\\"}]}`:                      {`{"a":1}`, `{"b":"]}\"\\"}`},
		` [ {"a":[{}]} , 1 ,"x", null, [2] ] `:                      {`{"a":[{}]}`, "1", `"x"`, "null", "[2]"},
		`{"digest":{"Records":[1]}, "Records" : [ {} ],"end":true}`: {"{}"},
		`{"Records":[]}`: nil,
		`[]`:             nil,
		"\n[\t1\r\n]":    {"1"},
	} {
		got, err := cutRecords([]byte(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]int{
		"": 0, "{}": 0, `{"Records":1}`: 0, `{"records":[{}]}`: 0, `{"Records":[{},`: 1, `{"Records":[{}]`: 1, `{"Records":[{}]} x`: 1, `[{}`: 1,
		`[{} {}]`: 1, `[{},]`: 1, `{"Records" [{}]}`: 0, `{"a":1 "Records":[{}]}`: 0, `[1,"x`: 1, `[1,,2]`: 1, "x": 0, `{"a"`: 0, `{,`: 0,
	} {
		got, err := cutRecords([]byte(text))
		if err == nil || len(got) != want {
			t.Errorf("%s: got %q and error %v, want %d records and an error", text, got, err, want)
		}
	}
	for _, err := range sigma.Records([]byte(`[1,2,`)) {
		if err != nil {
			t.Errorf("whoever stops gets error %v", err)
		}
		break
	}
}

// FuzzRecords holds the records of lists that the standard library reads against its own.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{`{"Records":[{"a":"\u00e9"},2]}`, `[1,[2],{"x":"}"}]`, `{"x":[{}],"Records":[null]}`, `[{]`, `{`, " [ ] "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := cutRecords(text)
		var want []json.RawMessage
		if json.Unmarshal(text, &want) != nil || !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) {
			return
		}
		if err != nil || !slices.EqualFunc(want, got, func(a json.RawMessage, b string) bool { return string(a) == b }) {
			t.Errorf("%q: got %q and error %v, want %q", text, got, err, want)
		}
	})
}
