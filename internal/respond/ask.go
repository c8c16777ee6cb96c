package respond

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// defaultRoles may answer where a playbook doesn't say who.
var defaultRoles = []string{"incident_analyst"} //nolint:gochecknoglobals // a constant list

// question takes a step of the playbook that asks a person before what comes next.
func (s *session) question(ctx context.Context, book *playbook.Playbook, step *playbook.Step, state run.Step) (turn, error) {
	if state.Started.IsZero() {
		state.Started = s.Now()
	}
	answered := s.latest(step.ID)
	if answered != nil && answered.Answer == run.Approved {
		state.State, state.Ended, state.Outputs = run.Done, s.Now(), map[string]any{"by": answered.By, "reason": answered.Reason}
		s.note(state)
		return onward, nil
	}
	if s.run.Autonomy == run.Observe || s.Policy.Ceiling == run.Observe {
		state.State, state.Ended = run.Planned, s.Now()
		s.note(state)
		return onward, nil // nothing will be changed: there is nothing to ask
	}
	plans := s.ahead(ctx, book, step.ID, nil)
	state.State = run.Asked
	s.note(state)
	return s.wait(ctx, step.ID, *step.Approve, plans)
}

// ask puts a plan that the guardrails want approved before a person, together with the plans of the
// steps after it, so that one answer covers what can be known now.
func (s *session) ask(ctx context.Context, book *playbook.Playbook, step *playbook.Step, state *run.Step, change action.Change, verdict guardrail.Verdict) (turn, error) {
	first := run.Plan{Step: step.ID, Change: change, Hash: change.Hash()}
	plans := s.ahead(ctx, book, step.ID, []run.Plan{first})
	state.State, state.Error = run.Asked, ""
	s.note(*state, s.entry(record.ActionPlanned, record.System, step.ID, map[string]any{
		"action": step.Action, "change": change, "hash": first.Hash, "guardrails": verdict,
	}))
	return s.wait(ctx, step.ID, book.Asks(step), plans)
}

// ahead plans the changing steps after one, as far as that is possible now: up to the next question, or
// to a step that needs what isn't known yet.
func (s *session) ahead(ctx context.Context, book *playbook.Playbook, after string, plans []run.Plan) []run.Plan {
	at := slices.IndexFunc(book.Steps, func(st playbook.Step) bool { return st.ID == after })
	for i := at + 1; i < len(book.Steps); i++ {
		step := &book.Steps[i]
		if step.Approve != nil {
			break
		}
		do, known := s.actions[step.Action]
		if !known || !do.Spec().Effect.Changes() {
			continue
		}
		if step.If != nil {
			holds, err := step.If.True(ctx, s.scope())
			if err != nil {
				break
			}
			if !holds {
				continue
			}
		}
		change, err := s.plan(ctx, do, step)
		if err != nil {
			break
		}
		plans = append(plans, run.Plan{Step: step.ID, Change: change, Hash: change.Hash()})
	}
	return plans
}

// wait parks the run until a person answers the question about these plans, or its time is over.
func (s *session) wait(ctx context.Context, stepID string, who playbook.Approve, plans []run.Plan) (turn, error) {
	hash := together(plans)
	pending := s.latest(stepID)
	if pending != nil {
		switch pending.Answer {
		case run.Pending:
			if pending.Hash != hash {
				s.supersede()
				pending = nil
			}
		case run.Approved, run.Refused, run.Expired, run.Superseded: // those that said no ended the run
			pending = nil
		}
	}
	if pending != nil {
		return s.await(ctx, *pending)
	}
	asked := s.put(stepID, who, plans, hash)
	next, err := s.await(ctx, asked)
	if err == nil && next == parked { // people are told when an answer can be taken
		s.announce(ctx, Notice{
			Kind: "approval", Approval: asked.ID, Title: "Approval needed: " + s.run.Playbook, Text: describe(plans), Token: asked.ID,
		})
	}
	return next, err
}

// put notes the question for the next write, which parks the run.
func (s *session) put(stepID string, who playbook.Approve, plans []run.Plan, hash string) run.Approval {
	asked := run.Approval{
		ID: s.NewID(), Run: s.run.ID, Incident: s.run.Incident, Step: stepID, Hash: hash, Plans: plans, Roles: who.By,
		Asked: s.Now(), Otherwise: who.Otherwise, Answer: run.Pending,
	}
	if len(asked.Roles) == 0 {
		asked.Roles = defaultRoles
	}
	if who.Within > 0 {
		asked.Deadline = asked.Asked.Add(who.Within)
	}
	s.answer(asked)
	s.record(record.ApprovalAsked, stepID, map[string]any{
		"approval": asked.ID, "hash": hash, "roles": asked.Roles, "deadline": asked.Deadline, "otherwise": asked.Otherwise,
		"plans": plans,
	})
	return asked
}

// await parks the run, or does what is to be done when nobody answered in time.
func (s *session) await(ctx context.Context, asked run.Approval) (turn, error) {
	if asked.Deadline.IsZero() || s.Now().Before(asked.Deadline) || asked.Escalated {
		wake := asked.Deadline
		if asked.Escalated {
			wake = time.Time{}
		}
		return parked, s.park(ctx, run.Waiting, "waits for an answer of "+strings.Join(asked.Roles, ", "), wake)
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
		if err := s.write(ctx); err != nil {
			return ended, err
		}
		s.announce(ctx, Notice{
			Kind: "escalation", Approval: asked.ID, Title: "Nobody answered: " + s.run.Playbook,
			Text: describe(asked.Plans), Token: asked.ID + "-escalated",
		})
		return s.await(ctx, asked)
	case run.OtherwiseProceed:
		asked.Answer, asked.By, asked.Decided = run.Approved, record.System, s.Now()
		asked.Reason = "nobody answered in time and the playbook says to go on"
		s.decided(asked)
		s.run.Leg++ // the next leg finds the answer
		if err := s.park(ctx, run.Ready, "", time.Time{}); err != nil {
			return ended, err
		}
		return parked, s.starter.Start(ctx, s.run.ID, s.run.Leg, s.run.Fence)
	case run.OtherwiseDeny:
	}
	asked.Answer, asked.Decided = run.Expired, s.Now()
	s.decided(asked)
	return ended, s.refuse(ctx, asked.Step, "nobody answered in time")
}

func (s *session) refuse(ctx context.Context, stepID, why string) error {
	for _, step := range s.journal.Steps {
		if step.ID == stepID {
			step.State, step.Error, step.Ended = run.Stopped, why, s.Now()
			s.note(step)
		}
	}
	return s.finish(ctx, run.Denied, why)
}

// supersede withdraws the questions still open: what they ask is no longer so.
func (s *session) supersede() {
	for _, a := range s.journal.Approvals {
		if a.Answer == run.Pending {
			a.Answer, a.Decided, a.Reason = run.Superseded, s.Now(), "the plan changed, or the run ended, before an answer came"
			s.decided(a)
		}
	}
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
