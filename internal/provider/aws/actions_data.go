package aws

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// dataActions lists what Riposte can do with databases, functions, containers, what they share with others, and
// the services that detect.
func dataActions(c *Cloud) []action.Action {
	return []action.Action{
		unshareDBSnapshot(c), makeDBPrivate(c), stopDB(c), snapshotDB(c), protectDB(c),
		freezeFunction(c), removeFunctionPermissions(c), deleteFunctionURL(c),
		restoreDetector(c), suppressFinding(c), enableHub(c),
		startRecorder(c), enableValidation(c), restoreSelectors(c),
		restrictEndpoint(c), removeAccessEntry(c), quarantinePod(c), cordonNode(c), deletePod(c),
		stopTask(c), scaleServiceToZero(c),
		openRepository(c), openQueue(c), openTopic(c),
		unshareDocument(c), terminateSession(c),
		makeWarehousePrivate(c), enablePITR(c), pauseSending(c), disableAPIKey(c),
	}
}

// naming is how the resources of one kind are named: alone, and in ARNs. Names come from events, whose writer
// may be the attacker.
type naming struct {
	what    string // in errors: RDS instance
	param   string // the parameter that names one
	kind    entity.Kind
	service string // in ARNs
	prefix  string // of the resource in ARNs: "db:"
	form    *form  // of the name alone
	byARN   bool   // entities of the kind have the ARN as their id
}

// find gives the name that a step's parameter has, and where the resource is: an ARN says its region. One of
// another account than the step's is refused, as is what can't be a name.
func (n naming) find(c *Cloud, in action.Input) (string, action.Place, error) {
	return n.parse(c, in, in.Params.String(n.param))
}

func (n naming) parse(c *Cloud, in action.Input, text string) (string, action.Place, error) {
	at := c.here(in.Place)
	if !arn.IsARN(text) {
		if !n.form.MatchString(text) {
			return "", at, fault.New(fault.Invalid, "%s: %q is not the name of an %s", n.param, shorten(text), n.what)
		}
		return text, at, nil
	}
	parsed, err := arn.Parse(text)
	name, is := strings.CutPrefix(parsed.Resource, n.prefix)
	switch {
	case err != nil, !is, parsed.Service != n.service, parsed.Partition != c.self.Partition, !n.form.MatchString(name):
		return "", at, fault.New(fault.Invalid, "%s: %q is not the ARN of an %s", n.param, shorten(text), n.what)
	case parsed.AccountID != at.Account:
		return "", at, foreign(n.what, text, at.Account)
	}
	at.Region = parsed.Region
	return name, at, checkRegion(at.Region)
}

// foreign is the error of a resource that another account owns.
func foreign(what, id, account string) error {
	return fault.WithHint(fault.New(fault.Invalid, "%s %q is not of account %s", what, shorten(id), account),
		"act on it in the account that owns it: give the step that account")
}

// target is the entity that a step's parameter names.
func (n naming) target(c *Cloud) func(action.Input) entity.Entity {
	return func(in action.Input) entity.Entity {
		name, at, err := n.find(c, in)
		e := entity.Entity{Kind: n.kind, ID: name, Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region}
		if err == nil {
			e.ARN = n.arn(c, at, name)
			if n.byARN {
				e.ID = e.ARN
			}
		}
		return e
	}
}

func (n naming) arn(c *Cloud, at action.Place, name string) string {
	return arn.ARN{
		Partition: c.self.Partition, Service: n.service, Region: at.Region, AccountID: at.Account, Resource: n.prefix + name,
	}.String()
}

// all is the pattern of the ARNs of all of them, for permissions.
func (n naming) all() string {
	return "arn:{partition}:" + n.service + ":{region}:{account}:" + n.prefix + "*"
}

// takes is the parameter that names one.
func (n naming) takes() action.Param {
	return action.Param{Name: n.param, Type: action.String, Required: true, Entity: n.kind, Doc: "name or ARN of the " + n.what}
}

// service makes a service's client for a place.
func service[C, O any](c *Cloud, at action.Place, build func(aws.Config, ...func(*O)) C) (C, error) { //nolint:ireturn // C is a client
	return client(c, at, func(made aws.Config) C { return build(made) })
}

// setting is an action by one resource's state.
func setting[S any](c *Cloud, s action.Setting[S]) *placed[S] {
	return &placed[S]{Setting: s, cloud: c}
}

// errUnderway says that an earlier change of a resource goes on, whoever made it.
var errUnderway = errors.New("is being changed")

// underway is the error of a resource that can't be read for good before a change of it has ended.
func underway(what, id, status string) error {
	return fault.New(fault.Transient, "%s %s %w: its status is %s", what, id, errUnderway, shorten(status))
}

// slow is a setting whose change goes on at AWS after Apply has returned.
type slow[S any] struct{ placed[S] }

func slowly[S any](c *Cloud, s action.Setting[S]) *slow[S] {
	return &slow[S]{placed[S]{Setting: s, cloud: c}}
}

// Await looks whether the change has arrived.
func (s *slow[S]) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	return awaited(a, s.Verify(ctx, a))
}

// awaited is the result of a change by whether it is proven.
func awaited(a action.Applied, proof error) (action.Result, bool, error) {
	if _, notYet := errors.AsType[*action.NotHeld](proof); notYet || errors.Is(proof, errUnderway) {
		return action.Result{}, false, nil
	}
	return a.Result, proof == nil, proof
}

// final is a setting that nothing can set back: it destroys.
type final[S any] struct{ setting placed[S] }

func finally[S any](c *Cloud, s action.Setting[S]) *final[S] {
	return &final[S]{placed[S]{Setting: s, cloud: c}}
}

// Spec describes the action.
func (f *final[S]) Spec() action.Spec { return f.setting.Spec() }

// Plan reads what is there to be destroyed.
func (f *final[S]) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return f.setting.Plan(ctx, in)
}

// Apply destroys it, and gives later steps what the plan knew of it.
func (f *final[S]) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	result, err := f.setting.Apply(ctx, c)
	result.Outputs = c.Outputs
	return result, err
}

// Verify reads that it is gone.
func (f *final[S]) Verify(ctx context.Context, a action.Applied) error {
	return f.setting.Verify(ctx, a)
}

// reads, writes and undoes are permissions of the three phases.
func reads(resource string, names ...string) []action.Permission {
	return permit(action.PlanPhase, resource, nil, names...)
}

func writes(resource string, names ...string) []action.Permission {
	return permit(action.ApplyPhase, resource, nil, names...)
}

func undoes(resource string, names ...string) []action.Permission {
	return permit(action.UndoPhase, resource, nil, names...)
}

// tagMap gives a service's list of tags by key.
func tagMap[T any](list []T, pair func(T) (key, value *string)) map[string]string {
	if len(list) == 0 {
		return nil
	}
	tags := make(map[string]string, len(list))
	for _, tag := range list {
		key, value := pair(tag)
		tags[aws.ToString(key)] = aws.ToString(value)
	}
	return tags
}

// marks are the tags of what is made for a step, by key.
func marks(in action.Input) map[string]string {
	tags := map[string]string{}
	for key, value := range map[string]string{tagIncident: in.Incident, tagRun: in.Run, tagStep: in.Step} {
		if value != "" {
			tags[key] = value
		}
	}
	return tags
}

// flip says a state in words that only turns on or off.
func flip(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}
