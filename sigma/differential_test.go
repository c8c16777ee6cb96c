package sigma_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// generated is what one series of choices makes: rules that were read, and events.
func generated(c *choices) ([]*sigma.Rule, []string, [][]byte) {
	o := sigma.Options{Placeholders: map[string][]string{"list": {"foo", "b*", "1"}, "one": {"k"}, "nets": {"10.0.0.0/8"}}}
	c.choose()
	var rules []*sigma.Rule
	var texts []string
	for i := range 1 + c.below(6) {
		text := c.rule(i)
		some, err := sigma.ParseWith("rule.yml", []byte(text), o)
		if err != nil {
			continue
		}
		rules, texts = append(rules, some...), append(texts, text)
	}
	var events [][]byte
	for range 1 + c.below(6) {
		events = append(events, c.event())
	}
	return rules, texts, events
}

// agree holds the engine against the interpreter, rule by rule, and returns how many matches there were.
func agree(t *testing.T, data []byte) (pairs, matches int) {
	t.Helper()
	rules, texts, events := generated(&choices{bytes: data})
	if len(rules) == 0 {
		return 0, 0
	}
	e := compile(t, rules)
	s := e.Scanner()
	for _, text := range events {
		for _, source := range [][3]string{{"aws", "cloudtrail", "x"}, {"AWS", "", "X"}, {"azure", "other", ""}} {
			want, err := interpreted(rules, text, source)
			got, refused := s.Scan(text, source[0], source[1], source[2])
			if fmt.Sprint(err) != fmt.Sprint(refused) {
				t.Fatalf("%q: the engine gives error %v, ParseEvent %v", text, refused, err)
			}
			var ids []string
			for _, r := range got {
				ids = append(ids, r.ID)
			}
			if !slices.Equal(ids, want) {
				t.Fatalf("of %q the engine finds %q, the interpreter %q\n%s", text, ids, want, strings.Join(texts, "---\n"))
			}
			pairs += len(rules)
			matches += len(want)
		}
	}
	return pairs, matches
}

func interpreted(rules []*sigma.Rule, text []byte, source [3]string) ([]string, error) {
	e, err := sigma.ParseEvent(text)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range rules {
		if _, ok := r.Match(e); ok && r.LogSource.Covers(source[0], source[1], source[2]) {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

// TestEngineAgrees holds the engine against the interpreter for thousands of generated rules and events.
func TestEngineAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pairs, matches := 0, 0
	for range 4000 {
		data := make([]byte, 500+random.IntN(2500))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		p, m := agree(t, data)
		pairs += p
		matches += m
	}
	t.Logf("%d pairs of rules and events, %d matches", pairs, matches)
	if matches < pairs/50 {
		t.Errorf("%d of %d pairs match; the generator has lost its aim", matches, pairs)
	}
}

// FuzzEngine makes rules and events of the fuzzer's bytes and holds the engine against the interpreter.
func FuzzEngine(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 1<<12 {
			agree(t, data)
		}
	})
}
