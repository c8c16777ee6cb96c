package deploy_test

import (
	"slices"
	"strings"
	"testing"
)

// nothing is what !Ref AWS::NoValue leaves.
type nothing struct{}

// resolve evaluates a template's functions as CloudFormation would, with made-up names.
func (tmpl template) resolve(t *testing.T, v any, parameters map[string]string) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		made := map[string]any{}
		for key, item := range v {
			if is := tmpl.resolve(t, item, parameters); is != (nothing{}) {
				made[key] = is
			}
		}
		return made
	case []any:
		made := []any{}
		for _, item := range v {
			if is := tmpl.resolve(t, item, parameters); is != (nothing{}) {
				made = append(made, is)
			}
		}
		return made
	case call:
		return tmpl.evaluate(t, v, parameters)
	}
	return v
}

func (tmpl template) evaluate(t *testing.T, c call, parameters map[string]string) any {
	t.Helper()
	text, _ := c.with.(string)
	list, _ := c.with.([]any)
	switch c.name {
	case "Ref":
		return tmpl.reference(t, text, parameters)
	case "GetAtt":
		return "arn:aws:made:eu-central-1:123456789012:" + text
	case "Sub":
		var out strings.Builder
		for i, part := range strings.Split(text, "${") {
			if name, rest, closed := strings.Cut(part, "}"); i > 0 && closed {
				is, _ := tmpl.reference(t, name, parameters).(string)
				part = is + rest
			}
			out.WriteString(part)
		}
		return out.String()
	case "If":
		name, _ := list[0].(string)
		if tmpl.resolve(t, tmpl.conditions[name], parameters) == true {
			return tmpl.resolve(t, list[1], parameters)
		}
		return tmpl.resolve(t, list[2], parameters)
	case "Not":
		return tmpl.resolve(t, list[0], parameters) != true
	case "Equals":
		return tmpl.resolve(t, list[0], parameters) == tmpl.resolve(t, list[1], parameters)
	}
	t.Fatalf("!%s is not known to the test", c.name)
	return nil
}

func (tmpl template) reference(t *testing.T, name string, parameters map[string]string) any {
	t.Helper()
	if given, ok := parameters[name]; ok {
		return given
	}
	if parameter, ok := tmpl.parameters[name].(map[string]any); ok {
		return parameter["Default"]
	}
	switch name {
	case "AWS::NoValue":
		return nothing{}
	case "AWS::AccountId":
		return "123456789012"
	case "AWS::Partition":
		return "aws"
	}
	return "name-of-" + name
}

// deployed are the ways of deploying the template that the test looks at.
func deployed() map[string]map[string]string {
	return map[string]map[string]string{
		"defaults": {},
		"trail":    {"TrailBucket": "acme-trail", "TrailTopicArn": "arn:aws:sns:eu-central-1:123456789012:trail", "TrailKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/k"},
		"actions":  {"ActionsPolicyArn": "arn:aws:iam::123456789012:policy/riposte-actions", "Service": "ecs-tasks.amazonaws.com", "ReadOnlyCalls": "yes"},
	}
}

// statements gives the statements of a policy document, of which the template has a list.
func statements(t *testing.T, document any) []map[string]any {
	t.Helper()
	policy, _ := document.(map[string]any)
	if policy["Version"] != "2012-10-17" {
		t.Errorf("a policy has the version %v", policy["Version"])
	}
	list, _ := policy["Statement"].([]any)
	var all []map[string]any
	for _, one := range list {
		statement, ok := one.(map[string]any)
		if !ok || statement["Effect"] != "Allow" {
			t.Errorf("got the statement %v", one)
		}
		all = append(all, statement)
	}
	if len(all) == 0 {
		t.Error("a policy has no statements")
	}
	return all
}

// texts gives a text, or a list of texts, as a list.
func texts(v any) []string {
	if text, ok := v.(string); ok {
		return []string{text}
	}
	list, _ := v.([]any)
	var all []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

func (tmpl template) properties(t *testing.T, name string, parameters map[string]string) map[string]any {
	t.Helper()
	resource, _ := tmpl.resolve(t, tmpl.resources[name], parameters).(map[string]any)
	properties, ok := resource["Properties"].(map[string]any)
	if !ok {
		t.Fatalf("there is no resource %s", name)
	}
	return properties
}

func TestTheRoleMayReadEventsAndNoMore(t *testing.T) {
	t.Parallel()
	tmpl := read(t)
	for way, parameters := range deployed() {
		role := tmpl.properties(t, "Role", parameters)
		for _, s := range statements(t, role["AssumeRolePolicyDocument"]) {
			principal, _ := s["Principal"].(map[string]any)
			if len(principal) != 1 || !strings.HasSuffix(principal["Service"].(string), ".amazonaws.com") || s["Action"] != "sts:AssumeRole" {
				t.Errorf("%s: %v may be the role", way, s)
			}
		}
		var may []string
		policies, _ := role["Policies"].([]any)
		for _, policy := range policies {
			for _, s := range statements(t, policy.(map[string]any)["PolicyDocument"]) {
				may = append(may, texts(s["Action"])...)
				for _, resource := range texts(s["Resource"]) {
					if !strings.HasPrefix(resource, "arn:aws:") || strings.HasPrefix(strings.SplitN(resource, ":", 6)[5], "*") {
						t.Errorf("%s: %v is not bounded", way, s)
					}
				}
			}
		}
		want := []string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"}
		if way == "trail" {
			want = append([]string{"kms:Decrypt", "s3:GetObject"}, want...)
		}
		if slices.Sort(may); !slices.Equal(may, want) {
			t.Errorf("%s: the role may %v, want %v", way, may, want)
		}
		managed := texts(role["ManagedPolicyArns"])
		if given := parameters["ActionsPolicyArn"]; (given != "") != (len(managed) == 1) {
			t.Errorf("%s: the role has the policies %v", way, managed)
		}
	}
}

func TestOnlyWhatIsNamedMaySendToTheQueue(t *testing.T) {
	t.Parallel()
	tmpl := read(t)
	for way, parameters := range deployed() {
		var senders []string
		for _, s := range statements(t, tmpl.properties(t, "EventsPolicy", parameters)["PolicyDocument"]) {
			principal, _ := s["Principal"].(map[string]any)
			service, _ := principal["Service"].(string)
			senders = append(senders, service)
			condition, _ := s["Condition"].(map[string]any)
			exactly, _ := condition["ArnEquals"].(map[string]any)
			from := texts(exactly["aws:SourceArn"])
			if len(principal) != 1 || len(from) == 0 || slices.ContainsFunc(from, func(arn string) bool { return strings.Contains(arn, "*") || arn == "" }) {
				t.Errorf("%s: %v lets in more than one source", way, s)
			}
			if !slices.Equal(texts(s["Action"]), []string{"sqs:SendMessage"}) || !slices.Equal(texts(s["Resource"]), []string{"arn:aws:made:eu-central-1:123456789012:Events.Arn"}) {
				t.Errorf("%s: %v lets do more than send to the queue", way, s)
			}
		}
		want := []string{"events.amazonaws.com"}
		if way == "trail" {
			want = append(want, "s3.amazonaws.com", "sns.amazonaws.com")
		}
		if !slices.Equal(senders, want) {
			t.Errorf("%s: %v may send, want %v", way, senders, want)
		}
	}
}

func TestWhatIsReadIsKeptUntilItIsRead(t *testing.T) {
	t.Parallel()
	tmpl := read(t)
	for _, name := range []string{"Events", "DeadLetters"} {
		queue := tmpl.properties(t, name, nil)
		if queue["SqsManagedSseEnabled"] != "true" || queue["MessageRetentionPeriod"] != "1209600" {
			t.Errorf("%s: got %v, want it encrypted and kept for 14 days", name, queue)
		}
	}
	redrive, _ := tmpl.properties(t, "Events", nil)["RedrivePolicy"].(map[string]any)
	if redrive["deadLetterTargetArn"] == nil {
		t.Error("a message that is never taken in is lost")
	}
}
