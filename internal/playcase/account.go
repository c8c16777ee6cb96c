package playcase

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// account is the emulated account of one telling of a test, with all that is done to it and said about it.
type account struct {
	test *held
	now  func() time.Time

	mu      sync.Mutex
	things  map[thing]json.RawMessage
	changed map[string]string    // what stand-ins changed, by token: action and target
	begun   map[string]time.Time // when what goes on elsewhere was started, by token
	calls   []call
	told    []message
	noticed []message
	lacking []string // what the test would have to say
	memory  memory
	kept    memory // as it was at the last commit
}

// thing is a target of an action that sets its state.
type thing struct{ action, target string }

// call is one call at the provider.
type call struct{ step, text string }

// message is something that somebody was told.
type message struct {
	step, use, kind, channel, onCall, text, token string
}

// memory is how far recorded answers and faults are used up. What a process did since its last commit, the one
// after it does again: it meets the same.
type memory struct {
	faults map[int]int    // by place in the test, how often
	looks  map[string]int // by step, how often it was answered
}

func (m memory) clone() memory { return memory{maps.Clone(m.faults), maps.Clone(m.looks)} }

func newAccount(test *held, now func() time.Time) *account {
	empty := memory{map[int]int{}, map[string]int{}}
	return &account{
		test: test, now: now, things: maps.Clone(test.things), changed: map[string]string{}, begun: map[string]time.Time{}, memory: empty, kept: empty.clone(),
	}
}

// committed is told of each commit.
func (a *account) committed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = a.memory.clone()
}

// died forgets what was learned since the last commit.
func (a *account) died() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memory = a.kept.clone()
}

// state is all that can be seen of the account.
func (a *account) state() map[thing]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[thing]string{}
	for at, text := range a.things {
		seen[at] = string(text)
	}
	for _, what := range a.changed {
		does, target, _ := strings.Cut(what, " ")
		seen[thing{does, target}] = "changed"
	}
	return seen
}

// places lists how a target may be written in a test, the most exact first.
func places(target entity.Entity, at action.Place) []string {
	account, region := target.Account, target.Region
	if account == "" {
		account = at.Account
	}
	if region == "" {
		region = at.Region
	}
	return []string{account + "/" + region + "/" + target.ID, account + "/" + target.ID, target.ID}
}

// Get is of action.States.
func (a *account) get(does string, in action.Input, target entity.Entity) (json.RawMessage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range places(target, in.Place) {
		if text, there := a.things[thing{does, name}]; there {
			return text, nil
		}
	}
	return nil, fault.New(fault.NotFound, "the account of the test has no %s %s: say its state under world.%s", target.Kind, target.ID, does)
}

func (a *account) put(does string, in action.Input, target entity.Entity, state json.RawMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range places(target, in.Place) {
		if _, there := a.things[thing{does, name}]; there {
			a.things[thing{does, name}] = state
			return
		}
	}
}

// plays tells whether what is said of a step in a test is of a step of the run, or of a look of it.
func plays(said, step string) bool { return said == step || said == plain(step) }

// plain is a step's name in its playbook: without the loops and calls that it is in.
func plain(step string) string { return step[strings.LastIndexByte(step, '/')+1:] }

// happens gives what goes wrong now, if anything does: that somebody moved the target, or else something other.
func (a *account) happens(step string, at phase, moves bool) (failure, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, f := range a.test.Faults {
		if f.Phase != at || !plays(f.Step, step) || moves != (f.Kind == moved) {
			continue
		}
		if f.Times > 0 && a.memory.faults[i] >= f.Times || f.Times == 0 && !f.lasting() && a.memory.faults[i] >= 1 {
			continue
		}
		a.memory.faults[i]++
		return f, true
	}
	return failure{}, false
}

// lasting reports whether a fault stays unless the test says how often it comes.
func (f failure) lasting() bool { return f.Kind == denied || f.Kind == gone || f.Kind == notHeld }

// err is the error that a fault brings.
func (f failure) err(does string) error {
	switch f.Kind {
	case throttled:
		return fault.New(fault.Transient, "%s: Throttling: rate exceeded", does)
	case timeout:
		return fault.New(fault.Transient, "%s: no answer within the step's timeout", does)
	case serverError:
		return fault.New(fault.Transient, "%s: internal failure at the provider", does)
	case lostAnswer:
		return fault.New(fault.Transient, "%s: connection reset before the answer came", does)
	case denied:
		return fault.New(fault.Denied, "%s: AccessDenied: not authorized", does)
	case gone:
		return fault.New(fault.NotFound, "%s: the target does not exist", does)
	case moved:
		return &action.Moved{Action: does, Target: f.Step, Differences: []action.Difference{{Path: "state", Was: "as planned", Is: "changed by somebody"}}}
	case notHeld:
		return &action.NotHeld{Action: does, Target: f.Step, Differences: []action.Difference{{Path: "state", Was: "as applied", Is: "as before"}}}
	}
	return fault.New(fault.Internal, "fault %q", f.Kind)
}

// visit does work at the account, unless something goes wrong with it.
func visit[T any](a *account, does, step string, at phase, work func() (T, error)) (T, error) { //nolint:ireturn // T is concrete
	var none T
	f, wrong := a.happens(step, at, false)
	if wrong && f.Kind != lostAnswer {
		return none, f.err(does)
	}
	got, err := work()
	if err == nil && wrong {
		return none, f.err(does)
	}
	return got, err
}

// answer gives what the test says of a step or its action.
func (a *account) answer(step, does string) *answer {
	for _, name := range []string{step, plain(step), does} {
		if said, there := a.test.answers[name]; there {
			return said
		}
	}
	return nil
}

// outputs gives the outputs of a step that the test says. One after another where it says several.
func (a *account) outputs(spec action.Spec, step string) map[string]any {
	said := a.answer(step, spec.Name)
	given := map[string]any{}
	if said != nil && len(said.outputs) > 0 {
		a.mu.Lock()
		at := a.memory.looks[step]
		a.memory.looks[step]++
		a.mu.Unlock()
		given = said.outputs[min(at, len(said.outputs)-1)]
	}
	if len(spec.Outputs) == 0 {
		return nil
	}
	whole := make(map[string]any, len(spec.Outputs))
	for _, o := range spec.Outputs {
		whole[o.Name] = nothing(o.Type)
	}
	maps.Copy(whole, given)
	return whole
}

// nothing is the value of an output that the test doesn't mention.
func nothing(t action.Type) any {
	switch t {
	case action.Int:
		return int64(0)
	case action.Bool:
		return false
	case action.Strings:
		return []string{}
	case action.Object:
		return map[string]any{}
	case action.String, action.Duration, action.Time:
	}
	return ""
}

// called notes the calls of a change that was made.
func (a *account) called(c action.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range c.Calls {
		a.calls = append(a.calls, call{step: c.Step, text: text})
	}
}

// begins notes when something was started, and reports whether it wasn't before.
func (a *account) begins(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.begun[token]; known {
		return false
	}
	a.begun[token] = a.now()
	return true
}

// since gives when something was started.
func (a *account) since(token string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun[token]
}

// tell notes a message, each but once.
func (a *account) tell(m message) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(a.told, func(known message) bool { return known.token == m.token }) {
		return false
	}
	a.told = append(a.told, m)
	return true
}

func (a *account) lacks(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.lacking, what) {
		a.lacking = append(a.lacking, what)
	}
}
