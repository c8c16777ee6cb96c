package respond

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// defaultRoles may answer where a playbook doesn't say who.
var defaultRoles = []string{"incident_analyst"} //nolint:gochecknoglobals // a constant list

// question takes a step of the playbook that asks a person before what comes next.
func (s *session) question(ctx context.Context, f *frame, step *playbook.Step, state run.Step) (flow, error) {
	if state.Started.IsZero() {
		state.Started = s.Now()
	}
	for {
		answered := s.latest(state.ID)
		if answered != nil && answered.Answer == run.Approved {
			state.State, state.Ended, state.Outputs = run.Done, s.Now(), map[string]any{"by": answered.By, "reason": answered.Reason}
			s.note(state)
			return flow{}, nil
		}
		if f.autonomy == run.Observe || s.Policy.Ceiling == run.Observe {
			state.State, state.Ended = run.Planned, s.Now()
			s.note(state)
			return flow{}, nil // nothing will be changed: there is nothing to ask
		}
		if s.deferring > 0 {
			return flow{turn: asks}, nil
		}
		plans := s.ahead(ctx, f, state.ID, nil)
		state.State = run.Asked
		s.note(state)
		got, err := s.put(ctx, state.ID, *step.Approve, plans)
		if err != nil || got.turn != onward {
			return got, err
		}
	}
}

// ask puts a plan that the guardrails want approved before a person, together with the plans of the
// steps after it, so that one answer covers what can be known now. It returns onward where the plan is approved
// meanwhile: it is to be looked at again.
func (s *session) ask(ctx context.Context, f *frame, step *playbook.Step, state *run.Step, change action.Change, verdict guardrail.Verdict) (flow, error) {
	first := run.Plan{Step: state.ID, Change: change, Hash: change.Hash()}
	state.State, state.Error = run.Asked, ""
	if other := s.covering(first); other != nil {
		s.note(*state)
		return s.pending(ctx, *other)
	}
	if s.deferring > 0 {
		return flow{turn: asks}, nil
	}
	plans := s.ahead(ctx, f, state.ID, []run.Plan{first})
	s.note(*state, s.entry(record.ActionPlanned, record.System, state.ID, map[string]any{
		"action": step.Action, "change": change, "hash": first.Hash, "guardrails": verdict,
	}))
	return s.put(ctx, state.ID, f.book.Asks(step), plans)
}

// covering gives the question of another step that is open and about this plan too.
func (s *session) covering(plan run.Plan) *run.Approval {
	for _, a := range s.journal.Approvals {
		same := func(p run.Plan) bool { return p.Step == plan.Step && p.Hash == plan.Hash }
		if a.Answer == run.Pending && a.Step != plan.Step && slices.ContainsFunc(a.Plans, same) {
			return &a
		}
	}
	return nil
}

// put asks a person about plans, unless that is asked already, and parks the step.
func (s *session) put(ctx context.Context, id string, who playbook.Approve, plans []run.Plan) (flow, error) {
	hash := together(plans)
	if open := s.latest(id); open != nil && open.Answer == run.Pending {
		if open.Hash == hash {
			return s.pending(ctx, *open)
		}
		s.supersedeOne(*open)
	}
	asked := s.open(id, who, plans, hash)
	s.notices = append(s.notices, Notice{
		Kind: "approval", Approval: asked.ID, Title: "Approval needed: " + s.run.Playbook, Text: describe(plans), Token: asked.ID,
	})
	return s.pending(ctx, asked)
}

// open notes a new question for the write that parks the run.
func (s *session) open(id string, who playbook.Approve, plans []run.Plan, hash string) run.Approval {
	asked := run.Approval{
		ID: s.NewID(), Run: s.run.ID, Incident: s.run.Incident, Step: id, Hash: hash, Plans: plans, Roles: who.By,
		Asked: s.Now(), Otherwise: who.Otherwise, Quorum: max(who.Quorum, 1), Barred: s.barredPeople(), Answer: run.Pending,
	}
	if len(asked.Roles) == 0 {
		asked.Roles = defaultRoles
	}
	if who.Within > 0 {
		asked.Deadline = asked.Asked.Add(who.Within)
	}
	for _, level := range who.Escalate {
		asked.Levels = append(asked.Levels, run.Level{
			At: asked.Asked.Add(level.After), Roles: level.By, Channel: level.Channel, OnCall: level.OnCall,
		})
	}
	s.answer(asked)
	s.record(record.ApprovalAsked, id, map[string]any{
		"approval": asked.ID, "hash": hash, "roles": asked.Roles, "deadline": asked.Deadline, "otherwise": asked.Otherwise,
		"quorum": asked.Quorum, "barred": asked.Barred, "levels": asked.Levels, "plans": plans,
	})
	return asked
}

// barredPeople are those who may not answer: who started the run, and whom its finding names as having done it.
// They would decide about what stops themselves.
func (s *session) barredPeople() []string {
	var barred []string
	if s.run.By != record.System {
		barred = append(barred, s.run.By)
	}
	for _, e := range s.journal.Finding.Entities {
		if e.Part == entity.Actor && slices.Contains([]entity.Kind{entity.User, entity.Principal, entity.Session}, e.Kind) {
			if name := shortName(e.ID); personal.MatchString(name) && !slices.Contains(barred, name) && len(barred) < mostBarred {
				barred = append(barred, name)
			}
		}
	}
	return barred
}

// mostBarred bounds the names that a question keeps: whoever causes findings decides how many there are.
const mostBarred = 100

// personal is what names of those who may answer look like. No other can be one's own.
var personal = regexp.MustCompile(`^[\w.,=+@ -]{1,128}$`)

// shortName is what is last in the name of a principal: the user's, the session's.
func shortName(id string) string { return id[strings.LastIndexAny(id, "/:")+1:] }

// pending parks a step until its question is answered, tells more people when the question has stood for a while,
// or does what is to be done when nobody answered in time.
func (s *session) pending(ctx context.Context, asked run.Approval) (flow, error) {
	s.escalate(&asked)
	if asked.Deadline.IsZero() || s.Now().Before(asked.Deadline) || asked.Escalated {
		return s.park(run.Waiting, "waits for an answer of "+strings.Join(asked.Roles, ", "), next(asked)), nil
	}
	otherwise := asked.Otherwise
	if otherwise == run.OtherwiseProceed && s.Policy.Ceiling != run.Auto {
		otherwise = run.OtherwiseEscalate // the ceiling doesn't let anything go on without a person
	}
	switch otherwise {
	case run.OtherwiseEscalate:
		asked.Escalated = true
		s.answer(asked)
		s.mark().Escalated = true
		s.record(record.IncidentEscalated, asked.Step, map[string]any{"approval": asked.ID, "why": "nobody answered in time"})
		s.notices = append(s.notices, Notice{
			Kind: "escalation", Approval: asked.ID, Title: "Nobody answered: " + s.run.Playbook,
			Text: describe(asked.Plans), Token: asked.ID + "-escalated",
		})
		return s.park(run.Waiting, "waits for an answer of "+strings.Join(asked.Roles, ", "), next(asked)), nil
	case run.OtherwiseProceed:
		asked.Answer, asked.By, asked.Decided = run.Approved, record.System, s.Now()
		asked.Reason = "nobody answered in time and the playbook says to go on"
		s.decided(asked)
		return flow{}, s.write(ctx)
	case run.OtherwiseDeny:
	}
	asked.Answer, asked.Decided = run.Expired, s.Now()
	s.decided(asked)
	return s.refuse(asked.Step, "nobody answered in time"), nil
}

// escalate takes a question to the levels whose time has come.
func (s *session) escalate(asked *run.Approval) {
	for asked.Level < len(asked.Levels) && !s.Now().Before(asked.Levels[asked.Level].At) {
		level := asked.Levels[asked.Level]
		asked.Level++
		for _, role := range level.Roles {
			if !slices.Contains(asked.Roles, role) {
				asked.Roles = append(slices.Clone(asked.Roles), role)
			}
		}
		notice := Notice{
			Kind: "escalation", Approval: asked.ID, Title: "Still no answer: " + s.run.Playbook, Text: describe(asked.Plans),
			Token: fmt.Sprintf("%s-level-%d", asked.ID, asked.Level),
		}
		if level.Channel != "" {
			notice.Channels = []string{level.Channel}
		}
		if level.OnCall != "" {
			notice.OnCall = []string{level.OnCall}
		}
		s.notices = append(s.notices, notice)
		s.answer(*asked)
		s.record(record.IncidentEscalated, asked.Step, map[string]any{
			"approval": asked.ID, "why": "no answer yet", "level": asked.Level, "to": level,
		})
		s.mark().Escalated = true
	}
}

// next is when a question is to be looked at again; zero for not by time.
func next(asked run.Approval) time.Time {
	wake := asked.Deadline
	if asked.Escalated {
		wake = time.Time{}
	}
	if asked.Level < len(asked.Levels) && (wake.IsZero() || asked.Levels[asked.Level].At.Before(wake)) {
		wake = asked.Levels[asked.Level].At
	}
	return wake
}

// refuse ends a step, and with it the run, by a person's no.
func (s *session) refuse(id, why string) flow {
	for _, step := range s.journal.Steps {
		if step.Run == s.run.ID && step.ID == id {
			step.State, step.Ends, step.Error, step.Ended = run.Stopped, run.Denied, why, s.Now()
			s.note(step)
		}
	}
	return flow{turn: ended, ends: run.Denied, why: why}
}

// supersede withdraws the questions still open: what they ask is no longer so.
func (s *session) supersede() {
	for _, a := range s.journal.Approvals {
		if a.Answer == run.Pending {
			s.supersedeOne(a)
		}
	}
}

func (s *session) supersedeOne(a run.Approval) {
	a.Answer, a.Decided, a.Reason = run.Superseded, s.Now(), "the plan changed, or the run ended, before an answer came"
	s.decided(a)
}

func (s *session) decided(a run.Approval) {
	s.answer(a)
	s.record(record.ApprovalDecided, a.Step, map[string]any{
		"approval": a.ID, "hash": a.Hash, "answer": a.Answer, "by": a.By, "reason": a.Reason,
	})
}

// answer adds an approval's state to the next write.
func (s *session) answer(a run.Approval) {
	same := func(known run.Approval) bool { return known.ID == a.ID }
	if i := slices.IndexFunc(s.journal.Approvals, same); i >= 0 {
		s.journal.Approvals[i] = a
	} else {
		s.journal.Approvals = append(s.journal.Approvals, a)
	}
	if i := slices.IndexFunc(s.added.Approvals, same); i >= 0 {
		s.added.Approvals[i] = a
	} else {
		s.added.Approvals = append(s.added.Approvals, a)
	}
}

// latest gives the newest question asked at a step.
func (s *session) latest(stepID string) *run.Approval {
	for _, a := range slices.Backward(s.journal.Approvals) {
		if a.Step == stepID && a.Answer != run.Superseded {
			return &a
		}
	}
	return nil
}

// together is the hash of several plans in their order.
func together(plans []run.Plan) string {
	h := sha256.New()
	for _, p := range plans {
		fmt.Fprintf(h, "%s=%s\n", p.Step, p.Hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describe tells people what they are asked.
func describe(plans []run.Plan) string {
	if len(plans) == 0 {
		return "Nothing would be changed before the next question."
	}
	lines := make([]string, 0, len(plans))
	for _, p := range plans {
		line := p.Change.Summary
		if len(p.Change.Impact) > 0 {
			line += " (" + strings.Join(p.Change.Impact, "; ") + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
