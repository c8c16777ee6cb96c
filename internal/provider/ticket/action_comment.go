package ticket

import (
	"context"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// comment says something in a ticket.
type comment struct{ tickets *Tickets }

// remark is a comment that is to be made.
type remark struct {
	Key  string `json:"key"`
	Text string `json:"text"` // its last line says from where it comes
}

// Spec describes the action.
func (c *comment) Spec() action.Spec {
	return action.Spec{
		Name: "ticket.comment", Effect: action.Notify, Summary: "Comment on a ticket in Jira, ServiceNow or GitHub",
		Doc: "Adds a comment (at ServiceNow a work note) to a ticket, such as the `key` that ticket.open gave. It ends with a marker " +
			"with the step's token: a step that is tried again looks for it among the latest 50 comments first. At ServiceNow that " +
			"takes a user who may read sys_journal_field; one who may not can say it twice.\n\n" +
			"The text is shown as it is: no markup, link or mention in it works. Over 16 KiB it is cut.",
		Params: []action.Param{
			systemParam(c.tickets),
			{Name: "key", Type: action.String, Required: true, Doc: "the ticket's key: SEC-12, INC0010001, 12"},
			{Name: "message", Type: action.String, Required: true, Doc: "what to say"},
		},
		Outputs: []action.Output{{Name: "comment_id", Type: action.String, Doc: "the system's id of the comment, of the ticket at ServiceNow"}},
		Timeout: time.Minute,
	}
}

// Plan writes the comment. It sends nothing.
func (c *comment) Plan(_ context.Context, in action.Input) (action.Change, error) {
	s, err := c.tickets.system(in.Params.String("system"))
	if err != nil {
		return action.Change{}, err
	}
	key := in.Params.String("key")
	if err := s.checkKey(key); err != nil {
		return action.Change{}, err
	}
	text := readable(in.Params.String("message"), longestText)
	params := action.Params{"system": in.Params.String("system"), "key": key, "message": text}
	change, err := plan(c.Spec(), in, params, remark{Key: key, Text: text + "\n\n" + about(in)})
	change.Calls = []string{"ticket:Comment on " + key + " in " + in.Params.String("system")}
	change.Summary = "Comment on ticket " + key + " in " + in.Params.String("system")
	return change, err
}

// Apply makes the comment, unless it is there.
func (c *comment) Apply(ctx context.Context, change action.Change) (action.Result, error) {
	var r remark
	in, s, err := c.tickets.planned(change, &r)
	if err != nil {
		return action.Result{}, err
	}
	if err := s.checkKey(r.Key); err != nil {
		return action.Result{}, err
	}
	id, err := s.commenter.said(ctx, r.Key, marker(in))
	if err == nil {
		return action.Result{Outputs: map[string]any{"comment_id": id}}, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return action.Result{}, err
	}
	if id, err = s.commenter.say(ctx, r.Key, r.Text); err != nil {
		return action.Result{}, err
	}
	return action.Result{Changed: true, Outputs: map[string]any{"comment_id": id}}, nil
}
