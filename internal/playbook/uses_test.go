package playbook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/playbook"
)

func TestPlaybookTellsWhereItUsesAnAction(t *testing.T) {
	var books []*playbook.Playbook
	for _, text := range []string{
		`playbook: power-off
summary: Stop an instance.
inputs: {instance: {type: string, required: true}}
autonomy: approve
steps:
  - {id: off, use: aws.ec2.stop_instance, with: {instance_id: "{{ inputs.instance }}"}}
`,
		`playbook: p
summary: Look, ask, stop.
on: {findings: ["rule:*"]}
autonomy: approve
steps:
  - {id: look, use: aws.ec2.describe_instance, with: {instance_id: "{{ finding.instance }}"}}
  - {id: sure, approve: {by: [admin], within: 1h, otherwise: deny}}
  - id: grave
    if: finding.severity >= HIGH
    steps:
      - {id: stop, use: aws.ec2.stop_instance, with: {instance_id: "{{ finding.instance }}"}}
  - {id: more, call: power-off, with: {instance: "{{ finding.instance }}"}}
`,
	} {
		book, err := playbook.Parse("p.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		books = append(books, book)
	}
	if err := playbook.Link(books); err != nil {
		t.Fatal(err)
	}
	want := []playbook.Place{{Playbook: "p", Step: "stop"}, {Playbook: "power-off", Step: "off"}}
	if diff := cmp.Diff(want, books[1].UsedAt("aws.ec2.stop_instance")); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got := books[1].UsedAt("aws.s3.block_public_access"); got != nil {
		t.Errorf("got %v, want none", got)
	}
}
