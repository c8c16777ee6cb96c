package sigma

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

func TestX(t *testing.T) {
	files, _ := filepath.Glob("../../shared/data/cloudtrail/invictus/*.json")
	var all []json.RawMessage
	for _, f := range files {
		t, _ := os.ReadFile(f)
		var w struct{ Records []json.RawMessage }
		json.Unmarshal(t, &w)
		all = append(all, w.Records...)
	}
	var rules []*Rule
	aws := os.Getenv("AWS") != ""
	filepath.Walk("../../shared/data/sigma", func(p string, i os.FileInfo, e error) error {
		if strings.HasSuffix(p, ".yml") && (!aws || strings.Contains(p, "cloud/aws")) {
			b, _ := os.ReadFile(p)
			r, _ := Parse(p, b)
			for _, r := range r {
				r.LogSource = LogSource{}
				rules = append(rules, r)
			}
		}
		return nil
	})
	e, _ := Compile(rules)
	s := e.Scanner()
	cand := map[int32]int{}
	match := map[int32]int{}
	n := 0
	slow := 0
	m := 0
	for _, r := range all {
		got, _ := s.Scan(r, "", "", "")
		if s.view != nil {
			slow++
		}
		for _, c := range s.candidates {
			cand[c]++
			n++
		}
		_ = got
		m += len(got)
		for _, g := range got {
			for i := range e.rules {
				if e.rules[i] == g {
					match[int32(i)]++
				}
			}
		}
	}
	p := s.plan
	fmt.Println("always", len(p.always), "cand/event", float64(n)/float64(len(all)), "match/event", float64(m)/float64(len(all)), "slow", slow, "edges", len(p.trie.edges), "preds", len(e.compiler.predicates), "fields", len(e.compiler.names))
	for _, a := range p.always {
		fmt.Println("always", e.rules[a].File)
	}
	b := 0
	for i, x := range e.beyond {
		if x {
			b++
			fmt.Println("beyond", e.rules[i].File)
		}
	}
	var ks []int32
	for k := range cand {
		ks = append(ks, k)
	}
	sort.Slice(ks, func(i, j int) bool { return cand[ks[i]] > cand[ks[j]] })
	for _, k := range ks[:min(45, len(ks))] {
		fmt.Println(cand[k], match[k], filepath.Base(e.rules[k].File))
	}
	st := 0
	for i, x := range p.fields {
		if x != nil && x.automaton != nil {
			st += len(x.automaton.next)
			if len(x.automaton.next) > 100000 {
				fmt.Println(e.compiler.names[i], len(x.automaton.next), x.automaton.width)
			}
		}
	}
	fmt.Println("table", st, "words", len(p.words.automaton.next), p.words.automaton.width, len(p.words.automaton.ends))
}
