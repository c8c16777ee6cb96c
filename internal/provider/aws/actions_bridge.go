package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/smithy-go"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// bridgeActions lists those that start what a user has at AWS already: functions, state machines, runbooks.
func bridgeActions(c *Cloud) []action.Action {
	return []action.Action{
		invokeFunction{c},
		startExecution{c},
		startAutomation{c},
	}
}

const (
	// largestGiven bounds what a function or a workflow is given, in bytes: what Lambda takes asynchronously, and
	// Step Functions at all.
	largestGiven = 256 << 10
	// largestAnswer bounds what they may answer, in bytes: it goes into the journal and the ledger.
	largestAnswer = 64 << 10
	// callerKey is the key under which they are told who calls.
	callerKey = "riposte"
)

// irreversible is what the documentation of all of them says.
const irreversible = "\n\nWhat is started is your own and may do anything: Riposte can't undo it, so the effect is destroy. A playbook " +
	"that is to start it without a person lists the action in `allow_destroy`."

// caller is what a function or a workflow is told of who calls. Its token is the same for every attempt of
// one step: who has seen it need not do the work again.
type caller struct {
	Token    string `json:"token"`
	Incident string `json:"incident"`
	Run      string `json:"run"`
	Step     string `json:"step"`
	Reason   string `json:"reason,omitempty"`
}

// given is what a function or a workflow gets: a parameter's object, and the caller in it.
func given(in action.Input, param string) ([]byte, error) {
	object, _ := in.Params[param].(map[string]any)
	all := map[string]any{callerKey: caller{in.Token, in.Incident, in.Run, in.Step, in.Reason}}
	for key, value := range object {
		if key == callerKey {
			return nil, fault.New(fault.Invalid, "%s: the key %q is Riposte's own; name it otherwise", param, callerKey)
		}
		all[key] = value
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", param, err)
	}
	if len(text) > largestGiven {
		return nil, fault.New(fault.Invalid, "%s: %d bytes are more than %d", param, len(text), largestGiven)
	}
	return text, nil
}

// answered makes outputs of a JSON answer: an object is itself, any other value is under "value".
func answered(who string, text []byte) (map[string]any, error) {
	if len(text) > largestAnswer {
		return nil, fault.WithHint(fault.New(fault.Invalid, "%s answers %d bytes, more than %d", who, len(text), largestAnswer),
			"let it store what is large, and answer where")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return map[string]any{}, nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, fault.New(fault.Invalid, "%s answers what is not JSON: %s", who, onOneLine(string(text)))
	}
	switch value := value.(type) {
	case map[string]any:
		return value, nil
	case nil:
		return map[string]any{}, nil
	default:
		return map[string]any{"value": value}, nil
	}
}

// onOneLine is the beginning of somebody else's text as one line that can be printed.
func onOneLine(text string) string {
	const longest = 300
	cut := strings.ToValidUTF8(text[:min(len(text), longest)], "")
	cut = strings.Join(strings.FieldsFunc(cut, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " ")
	if len(text) > longest {
		cut += "..."
	}
	return cut
}

// bridgeFault classifies what services of functions and workflows say in words of their own.
func bridgeFault(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return classify(err)
	}
	switch code := api.ErrorCode(); {
	case slices.Contains([]string{
		"StateMachineDoesNotExist", "ExecutionDoesNotExist", "InvalidDocument", "AutomationDefinitionNotFoundException",
		"AutomationDefinitionVersionNotFoundException", "AutomationExecutionNotFoundException", "InvalidDocumentVersion",
	}, code):
		return fault.Wrap(fault.NotFound, err)
	case slices.Contains([]string{
		"AutomationExecutionLimitExceededException", "ExecutionLimitExceeded", "ResourceConflictException", "ResourceNotReadyException",
		"CodeArtifactUserPendingException", "StateMachineDeleting",
	}, code):
		return fault.Wrap(fault.Transient, err)
	}
	return classify(err)
}

// notYet is the error of not finding what was started: known to have been, it can't be seen yet, for these services
// are eventually consistent.
func notYet(a action.Applied, err error) error {
	if fault.Is(err, fault.NotFound) && len(a.Result.Outputs) > 0 {
		return fault.Wrap(fault.Transient, err)
	}
	return err
}

// place gives the place of what an ARN names, and completes it where it doesn't say.
func (c *Cloud) place(parsed arn.ARN) action.Place {
	return c.here(action.Place{Account: parsed.AccountID, Region: parsed.Region})
}

// startedChange is a plan's skeleton: who asks, where, and what the plan is bound to.
func startedChange(spec action.Spec, in action.Input, before, after any) (action.Change, error) {
	c := action.Change{
		Action: spec.Name, Place: in.Place, Incident: in.Incident, Run: in.Run, Step: in.Step, Reason: in.Reason, Token: in.Token,
	}
	return c, encodeInto(&c.Params, in.Params, &c.Before, before, &c.After, after)
}

// unmoved returns an *action.Moved where what would be started is not what the plan saw.
func unmoved(c action.Change, now any) error {
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encode %T: %w", now, err)
	}
	if differ := action.Differences(c.Before, text); len(differ) > 0 {
		return &action.Moved{Action: c.Action, Target: c.Target.ID, Differences: differ}
	}
	return nil
}

// tokenForm is a token that can be part of a name.
var tokenForm = shaped(`^[A-Za-z0-9_-]{1,64}$`)

// nameable gives the change's token if it can be part of a name at AWS.
func nameable(in action.Input) (string, error) {
	if !tokenForm.MatchString(in.Token) {
		return "", fault.New(fault.Internal, "the token %.80q can't be part of a name", in.Token)
	}
	return in.Token, nil
}
