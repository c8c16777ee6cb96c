package deploy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/event"
)

// properties are those of a resource of the function's template.
func properties(t *testing.T, tmpl template, name string) map[string]any {
	t.Helper()
	resource, _ := tmpl.resources[name].(map[string]any)
	is, _ := resource["Properties"].(map[string]any)
	if is == nil {
		t.Fatalf("the template has no %s", name)
	}
	return is
}

// TestFunctionIsInvoked holds what the rules let through to what Riposte reads, and each rule to its permission.
func TestFunctionIsInvoked(t *testing.T) {
	t.Parallel()
	tmpl := readFile(t, "aws/lambda.yaml")
	pattern, _ := properties(t, tmpl, "Findings")["EventPattern"].(map[string]any)
	kinds, _ := pattern["detail-type"].([]any)
	for _, kind := range kinds { // of a kind that isn't known, anything would be an event of another kind
		events, err := awslog.Envelope([]byte(wrapped("aws.x", kind.(string), `{}`)))
		if err == nil && len(events) == 1 && events[0].Source == event.EventBridge {
			t.Errorf("the rule lets %v through, which Riposte doesn't read", kind)
		}
	}
	if len(kinds) < 5 {
		t.Errorf("the rule lets %d kinds through", len(kinds))
	}
	tick := properties(t, tmpl, "Tick")
	targets, _ := tick["Targets"].([]any)
	input, _ := targets[0].(map[string]any)["Input"].(string)
	var told map[string]string
	if err := json.Unmarshal([]byte(input), &told); err != nil || told["riposte"] != "tick" {
		t.Errorf("the tick is %q, %v", input, err)
	}
	for name := range tmpl.resources {
		rule := properties(t, tmpl, name)
		if rule["Targets"] == nil {
			continue
		}
		may := properties(t, tmpl, name+"MayInvoke")["SourceArn"]
		if may != (call{"GetAtt", name + ".Arn"}) {
			t.Errorf("%s may not invoke the function: %v", name, may)
		}
	}
	allowed, _ := read(t).parameters["Service"].(map[string]any)["AllowedValues"].([]any)
	if !slices.ContainsFunc(allowed, func(v any) bool { return strings.HasPrefix(v.(string), "lambda.") }) {
		t.Error("the role of riposte.yaml can't be the function's")
	}
}
