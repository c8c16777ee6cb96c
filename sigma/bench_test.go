//go:build unix

package sigma_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"path/filepath"
	"runtime"
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

// archive is the files of CloudTrail as S3 holds them: compressed, one record after the other.
func archive(b *testing.B) (files [][]byte, events, size int) {
	b.Helper()
	paths, err := filepath.Glob(filepath.Join(needData(b, "cloudtrail/invictus"), "*.json"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range paths {
		text := read(b, path)
		forRecords(b, text, func([]byte) { events++ })
		size += len(text)
		var file bytes.Buffer
		w := gzip.NewWriter(&file)
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		files = append(files, file.Bytes())
	}
	return files, events, size
}

// BenchmarkArchive goes from compressed files to matches: with inflating them alone, cut into records, and held
// against the rules of SigmaHQ for AWS.
func BenchmarkArchive(b *testing.B) {
	files, events, size := archive(b)
	rules, _ := loadRules(b, "sigma/rules/cloud/aws", sigma.Options{})
	scanned := scanning(b, compile(b, rules).Scanner())
	for _, c := range []struct {
		name string
		each func(text []byte)
	}{
		{"inflate", func([]byte) {}},
		{"cut", func(text []byte) { forRecords(b, text, func([]byte) {}) }},
		{"engine", func(text []byte) { forRecords(b, text, scanned) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			in, text, n := new(gzip.Reader), new(bytes.Buffer), 0
			begin := processor(b)
			for b.Loop() {
				for _, file := range files {
					if err := in.Reset(bytes.NewReader(file)); err != nil {
						b.Fatal(err)
					}
					text.Reset()
					if _, err := text.ReadFrom(in); err != nil {
						b.Fatal(err)
					}
					c.each(text.Bytes())
				}
				n += events
			}
			b.ReportMetric(float64(n)/(processor(b)-begin), "events/cpu-s")
		})
	}
}

func forRecords(b *testing.B, text []byte, each func(record []byte)) {
	b.Helper()
	for record, err := range sigma.Records(text) {
		if err != nil {
			b.Fatal(err)
		}
		each(record)
	}
}

// BenchmarkCores tells how many events one goroutine and as many as there are cores hold against the rules for AWS
// in a second of wall-clock time.
func BenchmarkCores(b *testing.B) {
	events := cloudTrail(b)
	rules, _ := loadRules(b, "sigma/rules/cloud/aws", sigma.Options{})
	e := compile(b, rules)
	for _, cores := range []int{1, 2} {
		b.Run(strconv.Itoa(cores), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			begin := processor(b)
			b.RunParallel(func(pb *testing.PB) {
				s := e.Scanner()
				for n := 0; pb.Next(); n++ {
					if _, err := s.Scan(events[n%len(events)], "aws", "cloudtrail", ""); err != nil {
						b.Error(err)
					}
				}
			})
			used := processor(b) - begin
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(used/b.Elapsed().Seconds(), "cores")
			b.ReportMetric(float64(b.N)/used, "events/cpu-s")
		})
	}
}

// BenchmarkLoad reads and compiles all rules, up to the first event.
func BenchmarkLoad(b *testing.B) {
	needData(b, "sigma")
	event := []byte(`{"eventName":"StopLogging"}`)
	b.ReportAllocs()
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := processor(b)
		rules, _ := loadRules(b, "sigma", sigma.Options{})
		read := processor(b)
		s := compile(b, everywhere(rules)).Scanner()
		scan(b, s, event)
		done := processor(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(read-begin, "read-cpu-s")
		b.ReportMetric(done-read, "compile-cpu-s")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "held-MB")
		runtime.KeepAlive(s)
	}
}

// BenchmarkOdd is events that an attacker made so that they need what is rare: names given twice, escapes
// everywhere, text beyond ASCII, all keywords.
func BenchmarkOdd(b *testing.B) {
	world, _ := loadRules(b, "sigma", sigma.Options{})
	world = everywhere(world)
	s, set := compile(b, world).Scanner(), newSet(b, world)
	plain := cloudTrail(b)[:200]
	odd := func(change func(text []byte) []byte) []json.RawMessage {
		all := make([]json.RawMessage, len(plain))
		for i, text := range plain {
			all[i] = change(bytes.Clone(text))
		}
		return all
	}
	for _, c := range []struct {
		name   string
		events []json.RawMessage
	}{
		{"plain", plain},
		{"twice", odd(func(text []byte) []byte { return append([]byte(`{"eventName":"x",`), text[1:]...) })},
		{"escaped", odd(func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("o"), []byte(`\u006f`)) })},
		{"foreign", odd(func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("o"), []byte("é")) })},
	} {
		b.Run(c.name+"/interpreter", func(b *testing.B) {
			rate(b, c.events[:20], func(text []byte) { set.Evaluate(parseEvent(b, text), "", "", "") })
		})
		b.Run(c.name+"/engine", func(b *testing.B) { rate(b, c.events, scanning(b, s)) })
	}
}
