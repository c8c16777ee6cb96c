package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/replay"
)

func (r *root) replay() *cobra.Command {
	var send bool
	c := &cobra.Command{
		Use: "replay PATH...", Short: "Run logs from files, folders or standard input (-) through the rules, or send them to the server",
		Long: "Reads CloudTrail files, EventBridge events and findings, gzipped or not. Shows which rules find what and which\n" +
			"playbooks would answer, here, without a server and without an effect on anything. With --send the records go to\n" +
			"the server instead, and what follows is for real.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if send {
				return r.send(c.Context(), args)
			}
			return r.dry(c.Context(), args)
		},
	}
	c.Flags().BoolVar(&send, "send", false, "send the records to the server (--url)")
	return c
}

// tally is what one kind of finding came to.
type tally struct {
	Type      string           `json:"type"`
	Title     string           `json:"title"`
	Severity  finding.Severity `json:"severity"`
	Count     int              `json:"count"`
	First     time.Time        `json:"first_seen"`
	Last      time.Time        `json:"last_seen"`
	Playbooks []string         `json:"playbooks"`
}

func (r *root) dry(ctx context.Context, paths []string) error {
	settings, _, err := app.ReadConfig(r.config)
	if err != nil {
		return err
	}
	settings.AWS.Enabled = true // the playbooks that would answer with it
	trial, err := app.NewTrial(settings)
	if err != nil {
		return err
	}
	counts := map[string]*tally{}
	events, letters := 0, []event.Letter{}
	reading := replay.Read(ctx, paths, r.In, func(ctx context.Context, b event.Batch) error {
		events += len(b.Events)
		found, refused := trial.Detect(b.Events)
		letters = append(append(letters, b.Letters...), refused...)
		for i := range found {
			add(counts, &found[i], trial.Answers(ctx, &found[i]))
		}
		return nil
	}, r.progress())
	all := make([]*tally, 0, len(counts))
	for _, t := range counts {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tally) int {
		if a.Severity != b.Severity {
			return int(b.Severity) - int(a.Severity)
		}
		return strings.Compare(a.Type, b.Type)
	})
	report := map[string]any{"events": events, "unreadable": len(letters), "findings": all}
	err = r.show(report, func() {
		rows := [][]string{}
		for _, t := range all {
			rows = append(rows, []string{t.Severity.String(), strconv.Itoa(t.Count), t.Type, when(t.First), strings.Join(t.Playbooks, ", "), t.Title})
		}
		r.table([]string{"SEVERITY", "TIMES", "FINDING", "FIRST SEEN", "PLAYBOOKS", "TITLE"}, rows)
		r.line("\n%d events, %d kinds of findings, %d records that cannot be read", events, len(all), len(letters))
		for _, l := range letters[:min(len(letters), 10)] {
			r.line("  %s: %s", l.Origin, brief(l.Reason))
		}
	})
	if reading != nil {
		return reading
	}
	return err
}

func add(counts map[string]*tally, f *finding.Finding, playbooks []string) {
	t, known := counts[f.Type]
	if !known {
		t = &tally{Type: f.Type, Title: f.Title, Severity: f.Severity, First: f.FirstSeen, Last: f.LastSeen, Playbooks: []string{}}
		counts[f.Type] = t
	}
	t.Count++
	t.Severity = max(t.Severity, f.Severity)
	if f.FirstSeen.Before(t.First) {
		t.First = f.FirstSeen
	}
	if f.LastSeen.After(t.Last) {
		t.Last = f.LastSeen
	}
	for _, name := range playbooks {
		if !slices.Contains(t.Playbooks, name) {
			t.Playbooks = append(t.Playbooks, name)
		}
	}
}

// progress tells people which file is being read.
func (r *root) progress() func(string) {
	if r.json {
		return nil
	}
	return func(file string) { fmt.Fprintln(r.Err, "reading", clean(file)) }
}

func (r *root) send(ctx context.Context, paths []string) error {
	server, err := r.client()
	if err != nil {
		return err
	}
	sent, aside := 0, 0
	err = replay.Read(ctx, paths, r.In, func(ctx context.Context, b event.Batch) error {
		accepted, setAside, err := post(ctx, server, b)
		sent, aside = sent+accepted, aside+setAside
		return err
	}, r.progress())
	if err != nil {
		return err
	}
	return r.show(map[string]int{"accepted": sent, "set_aside": aside}, func() {
		r.line("%d events are taken in, %d records were set aside", sent, aside)
	})
}

// post sends the records of a batch as they are; what can't be read here, the server sets aside.
func post(ctx context.Context, server *client.Client, b event.Batch) (accepted, setAside int, err error) {
	var body bytes.Buffer
	for _, ev := range b.Events {
		body.Write(oneLine(ev.Raw))
	}
	for _, l := range b.Letters {
		body.Write(oneLine(l.Raw))
	}
	var receipt struct {
		Accepted int `json:"accepted"`
		SetAside int `json:"set_aside"`
	}
	err = server.Send(ctx, "/v1/events", "application/x-ndjson", &body, &receipt)
	return receipt.Accepted, receipt.SetAside, err
}

// oneLine is a record on a line of its own. Line breaks within JSON's strings are escaped ones, so that
// those left are space.
func oneLine(raw []byte) []byte {
	return append(bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\n"), []byte(" ")), []byte("\r"), []byte(" ")), '\n')
}
