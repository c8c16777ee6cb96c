package sigma_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/sigma"
)

func lists(files map[string]string) fstest.MapFS {
	fsys := make(fstest.MapFS)
	for name, text := range files {
		fsys["lists/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestLoadLookups(t *testing.T) {
	got, err := sigma.LoadLookups(lists(map[string]string{
		"admins.txt": "\ufeff# ours\nroot # really\n\n  adm*\t\nroot\nx#y\n",
		"nets.csv":   "# office\n10.0.0.0/8,office\n\"fd00::/8\",\"lab, x\"\n",
		"roles.yaml": "- Admin\n- 'a #b'\n- 007\n- 12\n",
		"ids.json":   "[\"é\", 12.50, \"\\ud83d\\ude00\"]",
		"none.txt":   "# nobody\n",
		"empty.yml":  "",
		".hidden":    "x",
	}), "lists")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"admins": {"root", "adm*", "x#y"}, "nets": {"10.0.0.0/8", "fd00::/8"}, "roles": {"Admin", "a #b", "007", "12"},
		"ids": {"é", "12.50", "😀"}, "none": {}, "empty": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lists differ (-want +got):\n%s", diff)
	}
}

func TestRefusedLookups(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"a.yaml", "- x\n- {y: z}\n", "lists/a.yaml:2: a value must be text or a number, not a mapping"},
		{"a.yaml", "x: y\n", "lists/a.yaml:1: must be a list, not a mapping"},
		{"a.yml", "- x\n- [\n", "lists/a.yml:"},
		{"a.yaml", "- x\n- \n", "lists/a.yaml:2: a value must be text or a number, not null"},
		{"a.json", "[\n\"x\",\n}", "lists/a.json:3: isn't a list in JSON"},
		{"a.json", "[\"x\"] y", "isn't a list in JSON: more after the list"},
		{"a.json", "[\"x\", null]", "value 2 is neither text nor a number"},
		{"a.csv", "x\n\"y\n", "lists/a.csv:"},
		{"a.csv", "x\n,z\n", "lists/a.csv:2: a value is empty"},
		{"a.md", "x", `".md" is none of .txt, .csv`},
		{"a b.txt", "x", `"a b" can't be the name of a placeholder`},
		{"a.txt", "ok\n" + strings.Repeat("x", 1025), "lists/a.txt:2: a value is longer than 1024 bytes"},
		{"a.txt", "ok\n\xff\n", "lists/a.txt:2: a value isn't UTF-8"},
		{"a.txt", strings.Repeat("x\n", 1<<18+1), "lists/a.txt:262145: has more than 262144 values"},
		{"a.txt", strings.Repeat("x", 1<<25+1), "lists/a.txt: can't be read: longer than"},
	} {
		got, err := sigma.LoadLookups(lists(map[string]string{c.file: c.text, "good.txt": "x"}), "lists")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.file, err, c.want)
			continue
		}
		if got := asError(t, err); got.File != "lists/"+c.file {
			t.Errorf("%s: got %+v, want its file", c.file, got)
		}
		if diff := cmp.Diff(map[string][]string{"good": {"x"}}, got); diff != "" {
			t.Errorf("%s: lists differ (-want +got):\n%s", c.file, diff)
		}
	}
	if _, err := sigma.LoadLookups(lists(map[string]string{"a.txt": "x", "a.csv": "y"}), "lists"); err == nil || !strings.Contains(err.Error(), "lists/a.txt: is the list a, as lists/a.csv is") {
		t.Errorf("got %v, want two files of one list refused", err)
	}
	if _, err := sigma.LoadLookups(lists(nil), "lists"); err == nil {
		t.Error("got no error without a folder")
	}
	if _, err := sigma.LoadLookups(lists(map[string]string{"a.csv": "\"x"}), "lists"); err == nil || !errors.As(err, new(*sigma.Error)) {
		t.Errorf("got %v, want a *sigma.Error", err)
	}
}

// long is a list of so many values with a few others, and a function of them.
func long(value func(i int) string, more ...string) []string {
	values := make([]string, 0, 100_000)
	for i := range 100_000 {
		values = append(values, value(i))
	}
	return append(values, more...)
}

func TestLongLists(t *testing.T) {
	o := sigma.Options{Placeholders: map[string][]string{
		"users": long(func(i int) string { return "User" + strconv.Itoa(i) }, "adm*", `lit\*eral`, "12"),
		"nets": long(func(i int) string { return fmt.Sprintf("10.%d.%d.0/25", i/256%256, i%256) },
			"192.168.0.0/16", "192.168.4.0/24", "2001:db8::/32", "::ffff:172.16.0.0/108", "1.2.3.4"),
		"none": {},
	}}
	for _, c := range []struct {
		item            string
		matches, others []string
	}{
		{
			`a|expand: '%users%'`,
			[]string{`{"a":"user99999"}`, `{"a":["x","USER0"]}`, `{"a":"administrator"}`, `{"a":"lit*eral"}`, `{"a":12}`},
			[]string{`{"a":"user100000"}`, `{"a":"literal"}`, `{"a":null}`, `{}`},
		},
		{`a|expand|cased: '%users%'`, []string{`{"a":"User7"}`}, []string{`{"a":"user7"}`}},
		{`a|expand|neq: '%users%'`, []string{`{"a":"x"}`, `{}`}, []string{`{"a":"user7"}`}},
		{`a|expand: ['%users%', other]`, []string{`{"a":"user7"}`, `{"a":"OTHER"}`}, []string{`{"a":"x"}`}},
		{
			`a|expand|cidr: '%nets%'`,
			[]string{`{"a":"10.3.4.127"}`, `{"a":"192.168.255.255"}`, `{"a":"192.168.4.1"}`, `{"a":"2001:db8:ffff::1"}`, `{"a":"::ffff:10.3.4.5"}`, `{"a":"1.2.3.4"}`, `{"a":"::ffff:172.16.9.9"}`, `{"a":"192.168.0.0"}`},
			[]string{`{"a":"10.3.4.128"}`, `{"a":"192.169.0.0"}`, `{"a":"192.167.255.255"}`, `{"a":"2001:db9::"}`, `{"a":"0.0.0.0"}`, `{"a":"ffff::"}`, `{"a":"172.16.9.9"}`, `{"a":"x"}`, `{"a":10}`},
		},
		{`a|expand: '%none%'`, nil, []string{`{"a":""}`, `{"a":"x"}`, `{}`}},
		{`a|expand|all|contains: ['%none%']`, nil, []string{`{"a":""}`, `{"a":"x"}`}},
		{`a|expand|neq: '%none%'`, []string{`{"a":"x"}`, `{}`}, nil},
		{`a|expand: ['x-%none%', y]`, []string{`{"a":"y"}`}, []string{`{"a":"x-"}`}},
	} {
		t.Run(c.item, func(t *testing.T) {
			r := parseOne(t, ruleText("s:\n"+indented(c.item)+"condition: s"), o)
			set := newSet(t, []*sigma.Rule{r})
			engine, err := sigma.Compile([]*sigma.Rule{r})
			if err != nil {
				t.Fatal(err)
			}
			check := func(text string, want bool) {
				e := parseEvent(t, []byte(text))
				_, got := r.Match(e)
				hits, err := engine.Evaluate([]byte(text), "aws", "cloudtrail", "")
				if err != nil {
					t.Fatal(err)
				}
				if inSet := len(set.Evaluate(e, "aws", "cloudtrail", "")) == 1; got != want || inSet != want || (len(hits) == 1) != want {
					t.Errorf("%s: got %v, in a set %v, in an engine %d, want %v", text, got, inSet, len(hits), want)
				}
			}
			for _, text := range c.matches {
				check(text, true)
			}
			for _, text := range c.others {
				check(text, false)
			}
		})
	}
}

func TestRefusedLists(t *testing.T) {
	o := sigma.Options{Placeholders: map[string][]string{"long": long(strconv.Itoa, "x")}}
	for item, problem := range map[string]string{
		`a|expand|contains: '%long%'`: "placeholders stand for more than 10000 values",
		`a|expand|cidr: '%long%'`:     `"0" is not a network`,
		`a|expand|all: '%long%'`:      "placeholders stand for more than 10000 values",
		`a|expand: '%other%'`:         "placeholder %other% has no value",
	} {
		_, err := sigma.ParseWith("rule.yml", []byte(ruleText("s:\n"+indented(item)+"condition: s")), o)
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: got %v, want %q", item, err, problem)
		}
	}
}

// BenchmarkLongList tells what a list of 100,000 values costs an event.
func BenchmarkLongList(b *testing.B) {
	for name, c := range map[string]struct {
		item   string
		values []string
	}{
		"texts":    {`a|expand: '%long%'`, long(strconv.Itoa)},
		"few":      {`a|expand: '%long%'`, []string{"x", "y"}},
		"networks": {`a|expand|cidr: '%long%'`, long(func(i int) string { return fmt.Sprintf("10.%d.%d.0/25", i/256%256, i%256) })},
	} {
		r := parseOne(b, ruleText("s:\n"+indented(c.item)+"condition: s"), sigma.Options{Placeholders: map[string][]string{"long": c.values}})
		e := parseEvent(b, []byte(`{"a":"10.200.200.200"}`))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.Match(e)
			}
		})
	}
}
