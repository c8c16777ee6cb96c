package actiontest

import (
	"context"
	"slices"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Order is an action whose result comes later: an order is placed, and at some time there is what was ordered.
const Order = "test.world.order_thing"

// Awaiting is the phase in which an order's result is looked for.
const Awaiting Phase = "await"

type order struct {
	thing, token string
	value        string
	over, failed bool
}

// Bring ends the orders of a thing well: their result has this value.
func (w *World) Bring(thing, value string) { w.end(thing, value, false) }

// Refuse ends the orders of a thing badly.
func (w *World) Refuse(thing string) { w.end(thing, "", true) }

func (w *World) end(thing, value string, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.orders {
		if o.thing == thing && !o.over {
			o.value, o.over, o.failed = value, true, failed
		}
	}
}

// Orders counts the orders of a thing.
func (w *World) Orders(thing string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	for _, o := range w.orders {
		if o.thing == thing {
			count++
		}
	}
	return count
}

// ordering is Order.
type ordering struct{ world *World }

// Spec is of action.Action.
func (*ordering) Spec() action.Spec {
	return action.Spec{
		Name: Order, Summary: "Order a thing.", Doc: "Its value is known when it comes.", Effect: action.Notify,
		Params: []action.Param{aThing()}, Outputs: []action.Output{{Name: "value", Type: action.String, Doc: "its value"}},
	}
}

// Plan is of action.Action.
func (o *ordering) Plan(ctx context.Context, in action.Input) (action.Change, error) {
	return visit(ctx, o.world, planOf(Order, in), func() (action.Change, error) {
		c, err := changeOf(Order, in, nil)
		c.Target, c.Summary = entity.Entity{}, "order "+in.Params.String("thing")
		return c, err
	})
}

// Apply is of action.Action.
func (o *ordering) Apply(ctx context.Context, c action.Change) (action.Result, error) {
	return visit(ctx, o.world, callOf(Applying, c), func() (action.Result, error) {
		in, err := c.Input()
		if err != nil {
			return action.Result{}, err
		}
		o.world.mu.Lock()
		defer o.world.mu.Unlock()
		if slices.ContainsFunc(o.world.orders, func(known *order) bool { return known.token == c.Token }) {
			return action.Result{}, nil
		}
		o.world.orders = append(o.world.orders, &order{thing: in.Params.String("thing"), token: c.Token})
		return action.Result{Changed: true}, nil
	})
}

// Await is of action.Awaiter.
func (o *ordering) Await(ctx context.Context, a action.Applied) (action.Result, bool, error) {
	var over bool
	result, err := visit(ctx, o.world, callOf(Awaiting, a.Change), func() (action.Result, error) {
		o.world.mu.Lock()
		defer o.world.mu.Unlock()
		for _, known := range o.world.orders {
			if known.token != a.Change.Token {
				continue
			}
			if known.failed {
				return action.Result{}, fault.New(fault.Invalid, "the order of %s was refused", known.thing)
			}
			over = known.over
			return action.Result{Changed: true, Outputs: map[string]any{"value": known.value}}, nil
		}
		return action.Result{}, fault.New(fault.NotFound, "nobody knows of the order")
	})
	return result, over, err
}
