package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/approvallink"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/channel"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/provider/slack"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/respond"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store"
)

// ApprovalsConfig says how people can answer, beside the API and the command line.
type ApprovalsConfig struct {
	Links approvallink.Config `yaml:"links"`
}

// answers is where answers from outside come together: each goes the way of those of the API, with the same
// checks.
type answers struct {
	store  *store.Store
	runner *respond.Runner // set before the first request
}

// Question gives a question with what it is about.
func (a *answers) Question(ctx context.Context, approval string) (question.Question, error) {
	asked, err := a.store.Approval(ctx, approval)
	if err != nil {
		return question.Question{}, err
	}
	return a.about(ctx, asked)
}

func (a *answers) about(ctx context.Context, asked run.Approval) (question.Question, error) {
	journal, err := a.store.Load(ctx, asked.Run)
	if err != nil {
		return question.Question{}, err
	}
	return question.Question{
		Approval: asked, Playbook: journal.Run.Playbook, Title: journal.Incident.Title, Severity: journal.Incident.Severity,
	}, nil
}

// mostSearched is how many questions are looked through for a code.
const mostSearched = 1000

// ByCode gives the question of a code: one that is open, or else one of the last.
func (a *answers) ByCode(ctx context.Context, code string) (question.Question, error) {
	for _, answer := range []run.Answer{run.Pending, ""} {
		some, err := a.store.Approvals(ctx, store.ApprovalFilter{Answer: answer, Limit: mostSearched})
		if err != nil {
			return question.Question{}, err
		}
		for _, asked := range some {
			if question.Code(asked) == code {
				return a.about(ctx, asked)
			}
		}
	}
	return question.Question{}, fault.New(fault.NotFound, "there is no question %.20q; did its plan change?", code)
}

// Decide takes an answer of somebody who may answer at all, for exactly the plans that they saw.
func (a *answers) Decide(ctx context.Context, given question.Answer) (run.Approval, error) {
	who := auth.Identity{Name: given.By}
	for _, role := range given.Roles {
		who.Roles = append(who.Roles, auth.Role(role))
	}
	if err := who.Check(auth.RunsApprove); err != nil {
		return run.Approval{}, err
	}
	if given.Hash == "" {
		return run.Approval{}, fault.New(fault.Invalid, "an answer is for exact plans: their hash is missing")
	}
	return a.runner.Decide(ctx, a.store, respond.Answer{
		Approval: given.Approval, Hash: given.Hash, Yes: given.Yes, By: given.By, Roles: given.Roles, Reason: given.Reason, Via: given.Via,
	})
}

// announcer makes what tells people that they are needed.
func (a *App) announcer(notify *channel.Notify) *announcer {
	if a.config.Approvals.Links.BaseURL != "" {
		a.links = approvallink.New(a.config.Approvals.Links, approvallink.Options{
			Store: a.store, Desk: a.desk, Missed: a.keeper.Missed, Now: a.options.Now, Logger: a.options.Logger,
		})
	}
	return &announcer{
		notify: notify, own: a.config.Respond.Announce, onCall: oncall.NewNotify(a.told.rotations, a.told, a.options.Now), desk: a.desk,
		links: a.links, now: a.options.Now,
	}
}

// doors opens the ways by which people answer from outside, as far as they are configured.
func (a *App) doors(o *api.Options) {
	if chat := a.told.slack.Interactions(a.desk, a.options.Now, a.options.Logger); chat != nil {
		o.Slack = chat
	}
	if rooms := a.told.teams.Messages(a.desk, a.options.Now, a.options.Logger); rooms != nil {
		o.Teams = rooms
	}
	if a.links != nil {
		o.Links = a.links
	}
	o.OnCall = a.onCall
}

// onCall tells who is on call now and next, in every rotation.
func (a *App) onCall(ctx context.Context) []api.OnCall {
	all := []api.OnCall{}
	now := a.options.Now()
	for _, name := range a.told.rotations.Names() {
		one := api.OnCall{Rotation: name}
		shift, err := a.told.rotations.Shift(ctx, name, now)
		if err == nil {
			one.Now = shiftOf(shift)
			if !shift.Until.IsZero() {
				if shift, err = a.told.rotations.Shift(ctx, name, shift.Until); err == nil {
					one.Next = new(shiftOf(shift))
				}
			}
		}
		if err != nil {
			one.Error = fault.Message(err)
			a.options.Logger.WarnContext(ctx, "who is on call", "rotation", name, "err", err.Error())
		}
		all = append(all, one)
	}
	return all
}

func shiftOf(s oncall.Shift) api.Shift {
	shift := api.Shift{People: []api.Person{}, From: s.From, Until: s.Until}
	for _, p := range s.People {
		shift.People = append(shift.People, api.Person{Name: p.Name, Email: p.Email, Slack: p.Slack, Roles: p.Roles})
	}
	return shift
}

// announcer tells channels, and those on call, what people are needed for.
type announcer struct {
	notify *channel.Notify
	own    string // the organisation's channel
	onCall *oncall.Notify
	desk   *answers
	links  *approvallink.Links // nil where they are off
	now    func() time.Time
}

// Announce tells everybody whom a notice is for. Whom one way doesn't reach, another may.
func (a *announcer) Announce(ctx context.Context, n respond.Notice) error {
	channels := n.Channels
	if len(channels) == 0 {
		channels = []string{a.own}
	}
	tell := func(do action.Action, ask func(question.Telling) error, with map[string]any, token, name string) error {
		if n.Approval == "" {
			return a.tell(ctx, do, with, n, token)
		}
		t, err := a.telling(ctx, n, name)
		t.Token = token
		if err != nil {
			return err
		}
		return ask(t)
	}
	var errs []error
	for i, name := range channels {
		ask := func(t question.Telling) error { return a.notify.Ask(ctx, name, t) }
		errs = append(errs, tell(a.notify, ask, map[string]any{"channel": name}, fmt.Sprintf("%s-%d", n.Token, i), name))
	}
	for i, name := range n.OnCall {
		ask := func(t question.Telling) error { return a.onCall.Ask(ctx, action.Params{"rotation": name}, t) }
		errs = append(errs, tell(a.onCall, ask, map[string]any{"rotation": name}, fmt.Sprintf("%s-on-call-%d", n.Token, i), name))
	}
	return errors.Join(errs...)
}

// tell sends what is no question.
func (a *announcer) tell(ctx context.Context, do action.Action, with map[string]any, n respond.Notice, token string) error {
	with["subject"], with["message"] = n.Title, fmt.Sprintf("%s\nIncident %s, run %s.", n.Text, n.Incident, n.Run)
	params, err := action.Bind(do.Spec(), with)
	if err != nil {
		return err
	}
	plan, err := do.Plan(ctx, action.Input{Params: params, Incident: n.Incident, Run: n.Run, Token: token})
	if err != nil {
		return err
	}
	_, err = do.Apply(ctx, plan)
	return err
}

// telling is the question of a notice, on its way to a channel's people.
func (a *announcer) telling(ctx context.Context, n respond.Notice, name string) (question.Telling, error) {
	q, err := a.desk.Question(ctx, n.Approval)
	return question.Telling{
		Question: q, Headline: n.Title,
		Link: func(ctx context.Context, to question.Person) (string, error) { return a.link(ctx, q, name, to) },
		Sent: func(ctx context.Context, m question.Message) error {
			m.Sent = a.now()
			return a.desk.store.KeepMessage(ctx, m)
		},
	}, err
}

// link makes a link for somebody, or for whoever reads the channel. There is none for whom it would be of no use,
// and none for a channel where several people have to answer: nobody knows who reads it.
func (a *announcer) link(ctx context.Context, q question.Question, channel string, to question.Person) (string, error) {
	barred := slices.ContainsFunc(q.Barred, func(name string) bool { return question.OnePerson(name, to.Name) })
	if a.links == nil || to.Name == "" && q.Quorum > 1 || to.Name != "" && barred {
		return "", nil
	}
	if to.Name == "" {
		to.Name = channel
	}
	if len(to.Roles) == 0 {
		to.Roles = q.Roles
	}
	may := slices.ContainsFunc(to.Roles, func(role string) bool { return role == string(auth.Admin) || slices.Contains(q.Roles, role) })
	if !may {
		return "", nil
	}
	return a.links.Mint(ctx, q, to.Name, to.Roles)
}

const (
	// settleEvery is the time between two looks for messages whose questions were answered.
	settleEvery = 2 * time.Second
	// settlePause follows a failure that passes; settleMost bounds one look.
	settlePause = 30 * time.Second
	settleMost  = 50
	// settleAge is how old a message may be to be worth another try.
	settleAge = 7 * 24 * time.Hour
)

// settle changes messages about questions that are answered, wherever that was, until ctx ends.
func (a *App) settle(ctx context.Context, desk *answers, chat *slack.Slack) error {
	wait := settleEvery
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = settleEvery
		if err := a.settleSome(ctx, desk, chat); err != nil && ctx.Err() == nil {
			a.options.Logger.WarnContext(ctx, "messages about answered questions are changed later", "err", err.Error())
			wait = settlePause
		}
	}
}

// settleSome changes the messages that are due. Its error passes.
func (a *App) settleSome(ctx context.Context, desk *answers, chat *slack.Slack) error {
	due, err := a.store.AnsweredMessages(ctx, settleMost)
	if err != nil {
		return err
	}
	for _, m := range due {
		q, err := desk.about(ctx, m.Question)
		if err == nil && m.Provider == slack.Provider {
			err = chat.Settle(ctx, m.Message, q)
		}
		if fault.Is(err, fault.Transient) && a.options.Now().Sub(m.Sent) < settleAge {
			return err
		}
		if err != nil {
			a.options.Logger.WarnContext(ctx, "message about an answered question stays as it is", "approval", m.Approval, "err", err.Error())
		}
		if err := a.store.DropMessage(ctx, m.Message); err != nil {
			return err
		}
	}
	return nil
}

// checkPeople checks the roles of those who answer from outside, and that links can be made.
func (c *Config) checkPeople() error {
	var errs []error
	check := func(key string, roles []string) {
		for _, role := range roles {
			var known auth.Role
			if err := known.UnmarshalText([]byte(role)); err != nil {
				errs = append(errs, wrong(key, "%s", err))
			}
		}
	}
	for id, person := range c.Slack.Users {
		check("slack.users."+id+".roles", person.Roles)
	}
	for id, person := range c.Teams.Users {
		check("teams.users."+id+".roles", person.Roles)
	}
	for name, source := range c.OnCall {
		check("oncall."+name+".pagerduty.roles", source.PagerDuty.Roles)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(append(errs, c.Approvals.Links.Check())...)
}
