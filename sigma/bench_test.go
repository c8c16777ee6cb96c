//go:build unix

package sigma_test

import (
	"encoding/json"
	"strconv"
	"syscall"
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// processor is the processor time that the process has used, in seconds. Wall-clock time says little where
// others use the machine, too.
func processor(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// rate runs a function for the events again and again and reports events and bytes by processor time.
func rate(b *testing.B, events []json.RawMessage, each func(text []byte)) {
	b.Helper()
	size := 0
	for _, text := range events {
		each(text)
		size += len(text)
	}
	mean := float64(size) / float64(len(events))
	b.SetBytes(int64(mean))
	b.ReportAllocs()
	begin, n := processor(b), 0
	for b.Loop() {
		each(events[n%len(events)])
		n++
	}
	perSecond := float64(n) / (processor(b) - begin)
	b.ReportMetric(perSecond, "events/cpu-s")
	b.ReportMetric(perSecond*mean/1e6, "MB/cpu-s")
}

func cloudTrail(b *testing.B) []json.RawMessage {
	b.Helper()
	return append(records(b, "cloudtrail/invictus"), records(b, "cloudtrail/stratus")...)
}

func scanning(b *testing.B, s *sigma.Scanner) func(text []byte) {
	b.Helper()
	return func(text []byte) {
		if _, err := s.Scan(text, "aws", "cloudtrail", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEngine holds the engine beside the plain interpreter: the rules of SigmaHQ for AWS, all rules led by
// log source, and all without.
func BenchmarkEngine(b *testing.B) {
	events := cloudTrail(b)
	aws, _ := loadRules(b, "sigma/rules/cloud/aws", sigma.Options{})
	world, _ := loadRules(b, "sigma", sigma.Options{})
	for _, c := range []struct {
		name  string
		rules []*sigma.Rule
	}{{"aws", aws}, {"routed", world}, {"all", everywhere(world)}} {
		b.Run(c.name+"/interpreter", func(b *testing.B) {
			set := newSet(b, c.rules)
			rate(b, events, func(text []byte) { set.Evaluate(parseEvent(b, text), "aws", "cloudtrail", "") })
		})
		b.Run(c.name+"/engine", func(b *testing.B) {
			rate(b, events, scanning(b, compile(b, c.rules).Scanner()))
		})
	}
}

// BenchmarkCurve shows how the cost grows with the number of rules, none of which are led by log source. Those
// for AWS are the first ones.
func BenchmarkCurve(b *testing.B) {
	events := cloudTrail(b)
	rules, _ := loadRules(b, "sigma/rules/cloud/aws", sigma.Options{})
	had := make(map[string]bool)
	for _, r := range rules {
		had[r.ID] = true
	}
	world, _ := loadRules(b, "sigma", sigma.Options{})
	for _, r := range world {
		if !had[r.ID] {
			rules = append(rules, r)
		}
	}
	rules = everywhere(rules)
	for _, n := range []int{57, 300, 1000, len(rules)} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			rate(b, events, scanning(b, compile(b, rules[:n]).Scanner()))
		})
	}
}
