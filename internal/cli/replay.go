package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/replay"
	"github.com/riposte-sec/riposte/sigma"
)

const (
	// mostLetters is how many records that can't be read are told, and sent from one file.
	mostLetters = 10
	mostSent    = 100
)

// replaying is what the flags of replay say.
type replaying struct {
	send, diff, quiet, failOnChange bool
	rules                           []string
	samples                         int
	source                          string
}

func (r *root) replay() *cobra.Command {
	var o replaying
	c := &cobra.Command{
		Use:   "replay LOGS... | replay --rules DIR LOGS... | replay --diff OLD NEW LOGS...",
		Short: "Show what rules say of logs, and what a change of rules would add and take away",
		Long: "Reads CloudTrail files, EventBridge events, findings and audit events of Kubernetes from files, folders or standard\n" +
			"input (-), gzipped or not. Shows which rules find what and which playbooks would answer, here, without a server and\n" +
			"without an effect on anything.\n\n" +
			"  --rules DIR     counts what the rules of a folder or file find, instead of those of the configuration\n" +
			"  --diff OLD NEW  compares what two folders of rules find: what the new ones add and take away\n" +
			"  --send          sends the records to the server (--url) instead, and what follows is for real\n\n" +
			"Logs of another kind, one JSON object a record, can be read by saying what Sigma calls their source:\n" +
			"--logsource okta/okta, or product/service/category.",
		Example: "  riposte replay ~/my-cloudtrail-logs/\n" +
			"  riposte replay --rules rules/ ~/my-cloudtrail-logs/ --samples 5\n" +
			"  riposte replay --diff base/rules rules ~/my-cloudtrail-logs/ --fail-on-change\n" +
			"  zcat system-log.json.gz | riposte replay --rules rules/ --logsource okta/okta -",
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.MinimumNArgs(1)(c, args); err != nil {
				return err
			}
			return o.check(args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.send:
				return r.send(c.Context(), o, args)
			case o.diff:
				return r.replayDiff(c.Context(), o, args[0], args[1], args[2:])
			case len(o.rules) > 0 || o.source != "":
				return r.replayRules(c.Context(), o, args)
			}
			return r.dry(c.Context(), o, args)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&o.send, "send", false, "send the records to the server (--url)")
	flags.StringArrayVar(&o.rules, "rules", nil, "folder or file of rules; repeat for several")
	flags.BoolVar(&o.diff, "diff", false, "compare the rules of the first two paths over the logs that follow")
	flags.BoolVar(&o.failOnChange, "fail-on-change", false, "with --diff: exit with 3 if anything is found otherwise")
	flags.IntVar(&o.samples, "samples", 3, "how many events to show of each rule")
	flags.StringVar(&o.source, "logsource", "", "what the records are, as Sigma says it: product/service[/category]")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "don't tell how far reading has come")
	completeFolders(c, "rules")
	return c
}

// check refuses flags that don't go together.
func (o *replaying) check(args []string) error {
	switch {
	case o.diff && len(args) < 3:
		return fault.New(fault.Invalid, "--diff needs the old rules, the new rules and logs")
	case o.diff && len(o.rules) > 0:
		return fault.New(fault.Invalid, "--diff takes both sets of rules from its paths; leave --rules out")
	case o.send && (o.diff || len(o.rules) > 0 || o.source != ""):
		return fault.New(fault.Invalid, "--send hands records to the server's own rules; leave --rules, --diff and --logsource out")
	case o.failOnChange && !o.diff:
		return fault.New(fault.Invalid, "--fail-on-change goes with --diff")
	case o.samples < 0:
		return fault.New(fault.Invalid, "--samples is how many, from 0")
	}
	_, err := o.logSource()
	return err
}

// logSource is what the records are said to be.
func (o *replaying) logSource() (sigma.LogSource, error) {
	if o.source == "" {
		return sigma.LogSource{}, nil
	}
	parts := strings.Split(o.source, "/")
	if len(parts) > 3 || slices.ContainsFunc(parts, func(part string) bool { return strings.TrimSpace(part) == "" }) {
		return sigma.LogSource{}, fault.New(fault.Invalid, "--logsource %q is not product/service or product/service/category", o.source)
	}
	parts = append(parts, "", "")
	return sigma.LogSource{Product: parts[0], Service: parts[1], Category: parts[2]}, nil
}

// plain makes an event of any JSON object.
func plain(raw []byte) ([]event.Event, error) {
	if !json.Valid(raw) {
		return nil, fault.New(fault.Invalid, "not a JSON object")
	}
	at, _ := event.Moment(raw)
	return []event.Event{{Time: at, Raw: raw}}, nil
}

// read reads logs and tells how far it has come.
func (r *root) read(ctx context.Context, o replaying, paths []string, sink event.Sink) ([]replay.Problem, error) {
	shown := r.newBar(o.quiet)
	events := 0
	logs := replay.Logs{Paths: paths, Stdin: r.In, Progress: func(p replay.Progress) {
		events = p.Events
		shown.tell(p)
	}}
	if o.source != "" {
		logs.Decode = plain
	}
	if o.send {
		logs.Letters = mostSent
	}
	problems, err := logs.Read(ctx, sink)
	shown.done(events)
	return append([]replay.Problem{}, problems...), err
}

// problems tells which files could not be read; there is an error if there are any.
func (r *root) problems(all []replay.Problem) error {
	if len(all) == 0 {
		return nil
	}
	for _, problem := range all {
		fmt.Fprintln(r.Err, "cannot read", flat(problem.String()))
	}
	return fault.New(fault.Invalid, "%s could not be read to the end", count(len(all), "file"))
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

func (r *root) dry(ctx context.Context, o replaying, paths []string) error {
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
	events, unreadable, letters := 0, 0, []event.Letter{}
	problems, err := r.read(ctx, o, paths, func(ctx context.Context, b event.Batch) error {
		events += len(b.Events)
		found, refused := trial.Detect(b.Events)
		refused = append(b.Letters, refused...)
		unreadable += len(refused)
		letters = append(letters, refused[:min(len(refused), mostLetters-len(letters))]...)
		for i := range found {
			add(counts, &found[i], trial.Answers(ctx, &found[i]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	found := trial.End()
	for i := range found {
		add(counts, &found[i], trial.Answers(ctx, &found[i]))
	}
	all := sorted(counts)
	report := map[string]any{"events": events, "unreadable": unreadable, "findings": all, "problems": problems}
	err = r.show(report, func() {
		rows := [][]string{}
		for _, t := range all {
			rows = append(rows, []string{t.Severity.String(), strconv.Itoa(t.Count), t.Type, when(t.First), strings.Join(t.Playbooks, ", "), t.Title})
		}
		r.table([]string{"SEVERITY", "TIMES", "FINDING", "FIRST SEEN", "PLAYBOOKS", "TITLE"}, rows)
		r.line("\n%d events, %d kinds of findings, %d records that cannot be read", events, len(all), unreadable)
		for _, l := range letters {
			r.line("  %s: %s", flat(l.Origin), brief(l.Reason))
		}
	})
	if err != nil {
		return err
	}
	return r.problems(problems)
}

// sorted gives what was found, the most severe first.
func sorted(counts map[string]*tally) []*tally {
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
	return all
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

func (r *root) send(ctx context.Context, o replaying, paths []string) error {
	server, err := r.client()
	if err != nil {
		return err
	}
	sent, aside := 0, 0
	problems, err := r.read(ctx, o, paths, func(ctx context.Context, b event.Batch) error {
		accepted, setAside, err := post(ctx, server, b)
		sent, aside = sent+accepted, aside+setAside
		return err
	})
	if err != nil {
		return err
	}
	report := map[string]any{"accepted": sent, "set_aside": aside, "problems": problems}
	err = r.show(report, func() { r.line("%d events are taken in, %d records were set aside", sent, aside) })
	if err != nil {
		return err
	}
	return r.problems(problems)
}

// longestBroken is how much of a record that is no JSON is sent for people to see, in bytes.
const longestBroken = 64 << 10

// post sends the records of a batch as they are; what can't be read here, the server sets aside.
func post(ctx context.Context, server *client.Client, b event.Batch) (accepted, setAside int, err error) {
	var body bytes.Buffer
	for _, ev := range b.Events {
		body.Write(oneLine(ev.Raw))
	}
	for _, l := range b.Letters {
		raw := l.Raw
		if !json.Valid(raw) { // open brackets would take in what comes after
			quoted, err := json.Marshal(string(raw[:min(len(raw), longestBroken)]))
			if err != nil {
				return 0, 0, fmt.Errorf("send record: %w", err)
			}
			raw = quoted
		}
		body.Write(oneLine(raw))
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
