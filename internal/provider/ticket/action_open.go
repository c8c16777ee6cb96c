package ticket

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// longestWait is how long a ticket may take people.
const longestWait = 7 * 24 * time.Hour

// open opens a ticket.
type open struct{ tickets *Tickets }

// Spec describes the action.
func (o *open) Spec() action.Spec {
	return action.Spec{
		Name: "ticket.open", Effect: action.Notify, Summary: "Open a ticket in Jira, ServiceNow or GitHub",
		Doc: "Opens an issue or an incident with a title and a text. It carries a marker with the step's token: a step that is tried " +
			"again looks for it first, and opens no second. At Jira, whose search may lag behind by seconds, a step that is tried " +
			"again at once may.\n\nThe text is shown as it is: no markup, link or mention in it works. Over 16 KiB it is cut.\n\n" +
			"With `wait` the step ends when somebody has closed the ticket, at most a week later, and has how as outputs. One that " +
			"was deleted ends the step as failed.",
		Params: []action.Param{
			systemParam(o.tickets),
			{Name: "message", Type: action.String, Required: true, Doc: "the ticket's text"},
			{Name: "subject", Type: action.String, Doc: "its title; the incident if absent"},
			{Name: "wait", Type: action.Bool, Doc: "whether the step waits until the ticket is closed"},
		},
		Outputs: []action.Output{
			{Name: "key", Type: action.String, Doc: "the ticket's key: SEC-12, INC0010001, 12"},
			{Name: "url", Type: action.String, Doc: "where people find it"},
			{Name: "state", Type: action.String, Doc: "its state in the system's words"},
			{Name: "resolution", Type: action.String, Doc: "how it ended in the system's words; empty until then"},
		},
		Timeout: time.Minute, Within: longestWait,
	}
}

func systemParam(t *Tickets) action.Param {
	return action.Param{
		Name: "system", Type: action.String, Required: true, Enum: t.names(), Doc: "name of a system in the configuration, tickets",
	}
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// marker is what a ticket or a comment carries to be found by. It is one word in every system.
func marker(in action.Input) string { return "riposte-" + in.Token }

// Plan writes the ticket. It opens none.
func (o *open) Plan(_ context.Context, in action.Input) (action.Change, error) {
	s, err := o.tickets.system(in.Params.String("system"))
	if err != nil {
		return action.Change{}, err
	}
	title := cmp.Or(line(in.Params.String("subject"), s.longest), line("Riposte, incident "+in.Incident, s.longest))
	text := readable(in.Params.String("message"), longestText)
	params := action.Params{"system": in.Params.String("system"), "subject": title, "message": text, "wait": in.Params.Bool("wait")}
	c, err := plan(o.Spec(), in, params, draft{Title: title, Text: text, About: about(in)})
	c.Calls = []string{"ticket:Open in " + in.Params.String("system")}
	c.Summary = "Open a ticket in " + in.Params.String("system") + ": " + title
	return c, err
}

// plan is a plan's skeleton.
func plan(spec action.Spec, in action.Input, params action.Params, after any) (action.Change, error) {
	if !tokenForm.MatchString(in.Token) {
		return action.Change{}, fault.New(fault.Internal, "the token %.80q can't mark a ticket", in.Token)
	}
	name := in.Params.String("system")
	c := action.Change{
		Action: spec.Name, Place: in.Place, Target: entity.Entity{Kind: entity.Resource, ID: "ticket system " + name, Provider: "ticket"},
		Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}
	var err error
	if c.Params, err = json.Marshal(params); err != nil {
		return c, fmt.Errorf("encode parameters: %w", err)
	}
	if c.After, err = json.Marshal(after); err != nil {
		return c, fmt.Errorf("encode ticket: %w", err)
	}
	return c, nil
}

// planned gives back what a plan was made of.
func (t *Tickets) planned(c action.Change, into any) (in action.Input, s system, err error) {
	if in, err = c.Input(); err != nil {
		return in, s, err
	}
	if err = json.Unmarshal(c.After, into); err != nil {
		return in, s, fmt.Errorf("read planned ticket: %w", err)
	}
	s, err = t.system(in.Params.String("system"))
	return in, s, err
}

// Apply opens the ticket, unless it is there.
func (o *open) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	var d draft
	in, s, err := o.tickets.planned(c, &d)
	if err != nil {
		return action.Result{}, err
	}
	there, err := s.tracker.find(ctx, marker(in))
	if err == nil {
		return result(false, there), nil
	}
	if !fault.Is(err, fault.NotFound) {
		return action.Result{}, err
	}
	made, err := s.tracker.open(ctx, marker(in), d)
	if err != nil {
		return action.Result{}, invalid(err)
	}
	return result(true, made), nil
}

// invalid is the error of a project or a table that isn't there: it is the configuration that is wrong.
func invalid(err error) error {
	if fault.Is(err, fault.NotFound) {
		return fault.WithHint(fault.Wrap(fault.Invalid, err), "look whether what tickets names is there, and whether its user may see it")
	}
	return err
}

func result(changed bool, t opened) action.Result {
	return action.Result{Changed: changed, Note: t.note, Outputs: map[string]any{
		"key": t.key, "url": t.url, "state": line(t.state, longestState), "resolution": line(t.resolution, longestState),
	}}
}

// Await looks whether the ticket is closed, if the step is to wait for that.
func (o *open) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	var d draft
	in, s, err := o.tickets.planned(a.Change, &d)
	if err != nil {
		return action.Result{}, false, err
	}
	key, _ := a.Result.Outputs["key"].(string)
	if key != "" && !in.Params.Bool("wait") {
		return a.Result, true, nil
	}
	var now opened
	if key == "" { // Apply's outcome was lost
		now, err = s.tracker.find(ctx, marker(in))
	} else {
		now, err = s.tracker.read(ctx, key)
	}
	if err != nil {
		return action.Result{}, false, err
	}
	if in.Params.Bool("wait") && !now.closed {
		return action.Result{}, false, nil
	}
	done := result(true, now)
	done.Note = a.Result.Note
	return done, true, nil
}

// checkKey refuses what can't be a ticket's key: it becomes part of an address, or of a query.
func (s system) checkKey(key string) error {
	if !s.keys.MatchString(strings.TrimSpace(key)) || strings.TrimSpace(key) != key {
		return fault.New(fault.Invalid, "key: %.60q is no ticket's key there", key)
	}
	return nil
}
