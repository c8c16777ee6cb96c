package sigma_test

import (
	"testing"

	"github.com/riposte-sec/riposte/sigma"
)

// TestEngineLeavesElementsToTheInterpreter holds a rule whose conditions are tied to one member of a list.
func TestEngineLeavesElementsToTheInterpreter(t *testing.T) {
	rules, err := sigma.Parse("rule.yml", []byte(ruleText("s: {eventName: AuthorizeSecurityGroupIngress, items|element: {port: 22, from: 0.0.0.0/0}}\ncondition: s")))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sigma.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for event, want := range map[string]int{
		`{"eventName":"AuthorizeSecurityGroupIngress","items":[{"port":22,"from":"0.0.0.0/0"},{"port":80,"from":"10.0.0.0/8"}]}`: 1,
		`{"eventName":"AuthorizeSecurityGroupIngress","items":[{"port":22,"from":"10.0.0.0/8"},{"port":80,"from":"0.0.0.0/0"}]}`: 0,
		`{"eventName":"RunInstances","items":[{"port":22,"from":"0.0.0.0/0"}]}`:                                                  0,
	} {
		l := rules[0].LogSource
		got, err := engine.Evaluate([]byte(event), l.Product, l.Service, l.Category)
		if err != nil || len(got) != want {
			t.Errorf("%s: got %d rules, %v; want %d", event, len(got), err, want)
		}
	}
}
