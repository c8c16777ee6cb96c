package providertest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// lamps is a provider with one lamp, which has a colour.
type lamps struct {
	mu     sync.Mutex
	colour string
}

func (l *lamps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.URL.Path != "/lamp" {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPut {
		l.colour = r.URL.Query().Get("colour")
	}
	if err := json.NewEncoder(w).Encode(l.colour); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func ask(ctx context.Context, method, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fault.Wrap(fault.Transient, err)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", fault.New(fault.NotFound, "no such lamp")
	default:
		return "", fault.New(fault.Transient, "answered %s", answer.Status)
	}
	var colour string
	return colour, json.NewDecoder(answer.Body).Decode(&colour)
}

func turnRed(url string) *action.Setting[string] {
	lamp := func(in action.Input) string { return url + "/" + in.Params.String("lamp") }
	return &action.Setting[string]{
		About: action.Spec{
			Name: "test.lamp.turn_red", Summary: "Turn a lamp red.", Doc: "The lamp is red. Undo gives it its colour back.",
			Effect: action.Contain, Params: []action.Param{{Name: "lamp", Type: action.String, Doc: "which lamp", Required: true}},
			Permissions: []action.Permission{
				{Name: "lamp:GetColour", Resource: "*", Phase: action.PlanPhase},
				{Name: "lamp:PutColour", Resource: "*", Phase: action.ApplyPhase},
				{Name: "lamp:PutColour", Resource: "*", Phase: action.UndoPhase},
			},
		},
		Target: func(in action.Input) entity.Entity {
			return entity.Entity{Kind: entity.Resource, ID: in.Params.String("lamp")}
		},
		Read: func(ctx context.Context, in action.Input) (string, error) { return ask(ctx, http.MethodGet, lamp(in)) },
		Want: func(action.Input, string) (string, error) { return "red", nil },
		Write: func(ctx context.Context, in action.Input, _, to string) (string, error) {
			return ask(ctx, http.MethodPut, lamp(in)+"?colour="+to)
		},
		Calls:   func(_ action.Input, _, to string) []string { return []string{"lamp:PutColour " + to} },
		Summary: func(action.Input, string, string) string { return "turn the lamp red" },
	}
}

func TestContractHoldsForAnActionThatKeepsIt(t *testing.T) {
	provider := &lamps{colour: "green"}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	door := providertest.NewDoor(t, server.URL)
	in := action.Input{
		Params: action.Params{"lamp": "lamp"}, Incident: "INC-1", Run: "run", Step: "step", Token: "token",
	}
	nowhere := in
	nowhere.Params = action.Params{"lamp": "candle"}
	providertest.Contract(t, providertest.Case{
		Action: turnRed(door.URL), Input: in, Missing: &nowhere, Door: door,
		State: func(*testing.T) string {
			provider.mu.Lock()
			defer provider.mu.Unlock()
			return provider.colour
		},
		Change: func(*testing.T) {
			provider.mu.Lock()
			defer provider.mu.Unlock()
			provider.colour += "ish"
		},
	})
	wrote := 0
	for _, r := range door.Seen() {
		if r.Method == http.MethodPut && strings.HasPrefix(r.Path, "/lamp") {
			wrote++
		}
	}
	if wrote == 0 {
		t.Error("the door saw no request that writes")
	}
}
