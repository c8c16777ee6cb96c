package actiontest_test

import (
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/action/actiontest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// TestActionsKeepTheContract holds the world's actions to what every provider's are held to.
func TestActionsKeepTheContract(t *testing.T) {
	t.Parallel()
	params := map[string]action.Params{
		actiontest.Set:   {"thing": "door", "to": "shut"},
		actiontest.Break: {"thing": "door"},
		actiontest.Read:  {"thing": "door"},
	}
	for _, a := range actiontest.New().Actions() {
		name := a.Spec().Name
		if a.Spec().Effect == action.Notify {
			continue // the suite for those wants HTTP
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := actiontest.New()
			world.Put("1", "door", "open")
			in := action.Input{
				Place: action.Place{Account: "1"}, Params: params[name], Incident: "INC-1", Run: "run", Step: "step", Token: "token",
			}
			missing := in
			missing.Params = action.Params{"thing": "window"}
			if to, ok := in.Params["to"]; ok {
				missing.Params["to"] = to
			}
			var does action.Action
			for _, one := range world.Actions() {
				if one.Spec().Name == name {
					does = one
				}
			}
			providertest.Contract(t, providertest.Case{
				Action: does, Input: in, Missing: &missing,
				State:  func(*testing.T) string { return world.Values()["1/door"] },
				Change: func(*testing.T) { world.Put("1", "door", world.Values()["1/door"]+"ish") },
			})
		})
	}
}
