package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// TestSameEventsTwiceAndBackwards delivers the same matters once in their order to one server, and twice,
// backwards and late to another: both have the same runs.
func TestSameEventsTwiceAndBackwards(t *testing.T) {
	h := newHouse(t, "order")
	var events [][]byte
	var keys []string
	for i := range 6 {
		key, event := h.estate.Leak(fmt.Sprintf("order-%d", i))
		keys, events = append(keys, key), append(events, event)
	}
	books := map[string]string{"contain-key": strings.Replace(containKey, "autonomy: auto", "autonomy: observe", 1)}
	subjects := func(name string, deliver func(s *server)) string {
		s := h.configure(settings{name: name, playbooks: books})
		s.start()
		s.ready()
		deliver(s)
		h.eventually(time.Minute, "the runs to end", func() bool {
			return len(s.runs()) >= len(keys) && len(s.runs("ready", "waiting", "held")) == 0
		})
		defer s.kill()
		all := map[string]int{}
		for _, r := range s.runs() {
			all[r.Subject]++
		}
		return fmt.Sprint(all)
	}
	once := subjects("once", func(s *server) { s.post(events...) })
	again := subjects("again", func(s *server) {
		for i := range events {
			s.post(events[len(events)-1-i])
		}
		s.post(events...)
		s.post(events[2])
	})
	if once != again {
		t.Errorf("once: %s\nagain: %s", once, again)
	}
}

// TestCloudInTrouble lets every call to IAM fail as clouds do while a run goes on, throttled, broken down, with
// expired credentials, with a lost connection: it is carried out once, late.
func TestCloudInTrouble(t *testing.T) {
	h := newHouse(t, "trouble")
	riposte := h.configure(settings{name: "one", playbooks: map[string]string{"contain-key": containKey}})
	riposte.start()
	riposte.ready()
	var mu sync.Mutex
	times := map[string]int{}
	h.door.refuse = func(op string) (int, string, bool) {
		if !strings.Contains(op, "AccessKey") && !strings.Contains(op, "UserPolicy") {
			return 0, "", false
		}
		mu.Lock()
		defer mu.Unlock()
		times[op]++
		switch times[op] {
		case 1:
			return http.StatusBadRequest, iamError("Throttling", "Rate exceeded"), true
		case 2:
			return http.StatusServiceUnavailable, iamError("ServiceUnavailable", "try later"), true
		case 3:
			return http.StatusForbidden, iamError("ExpiredToken", "the security token included in the request is expired"), true
		case 4:
			panic(http.ErrAbortHandler)
		}
		return 0, "", false
	}
	user := "trouble-1"
	key, event := h.estate.Leak(user)
	h.estate.Send(event)
	h.eventually(2*time.Minute, "the run to end", func() bool { return len(riposte.runs("succeeded")) == 1 })
	onceEach(t, h, "UpdateAccessKey", "AccessKeyId", []string{key})
	contained(t, h, []string{key}, []string{user}, nil)
	if times["UpdateAccessKey"] < 5 {
		t.Errorf("the call that changes the key came %d times; its four failures were not all met", times["UpdateAccessKey"])
	}
}

func iamError(code, message string) string {
	return "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>" + message + "</Message></Error><RequestId>r</RequestId></ErrorResponse>"
}

// TestStoreAway stops PostgreSQL while events come: nothing is acknowledged, nothing is lost, health tells.
func TestStoreAway(t *testing.T) {
	h := newHouse(t, "away")
	postgres := storetest.Own(t)
	key, err := ledger.GenerateKey("riposte.example/away")
	if err != nil {
		t.Fatal(err)
	}
	riposte := h.configure(settings{
		name: "one", store: postgres.Database(t), key: key, playbooks: map[string]string{"contain-key": containKey},
	})
	riposte.start()
	riposte.ready()
	postgres.Stop(t)
	leaked, event := h.estate.Leak("away-1")
	h.estate.Send(event)
	h.eventually(time.Minute, "readiness to tell", func() bool {
		return riposte.readiness() == http.StatusServiceUnavailable
	})
	if deleted := h.door.made(func(c call) bool { return c.op == "DeleteMessage" }); len(deleted) > 0 {
		t.Error("a message was acknowledged while the store was away")
	}
	postgres.Start(t)
	h.eventually(2*time.Minute, "the run to end", func() bool {
		out, err := riposte.cli("runs", "list", "--state", "succeeded", "--json")
		return err == nil && strings.Contains(out, leaked)
	})
	contained(t, h, []string{leaked}, []string{"away-1"}, nil)
}

// TestDemonstration plays the demonstration as make demo does: it fails if anything in it isn't as it should be.
func TestDemonstration(t *testing.T) {
	h := newHouse(t, "unused")
	s := h.configure(settings{name: "unused"})
	endpoint := awstest.Own(t)
	out, err := s.command(t.Context(), "demo", "--endpoint", endpoint).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"everything is as it should be", "exactly as it was before", "verifies offline", "a person is asked"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demonstration doesn't say %q:\n%s", want, out)
		}
	}
}

// TestServeRefusesMistakes starts the server with mistakes: it tells file, line, key and what to do.
func TestServeRefusesMistakes(t *testing.T) {
	h := newHouse(t, "mistakes")
	for name, test := range map[string]struct {
		playbook, want string
	}{
		"unknown action": {strings.Replace(containKey, "aws.iam.deny_user", "aws.iam.deny_usr", 1), `did you mean "aws.iam.deny_user"`},
		"unknown key":    {strings.Replace(containKey, "autonomy:", "autonmy:", 1), "autonmy"},
	} {
		t.Run(name, func(t *testing.T) {
			s := h.configure(settings{name: strings.ReplaceAll(name, " ", "-"), noQueue: true, playbooks: map[string]string{"p": test.playbook}})
			out, err := s.command(t.Context(), "serve", "--config", s.config).CombinedOutput()
			if _, exited := err.(*exec.ExitError); !exited { //nolint:errorlint // Wait returns it bare
				t.Fatalf("got %v, want the process to end with an error\n%s", err, out)
			}
			if !strings.Contains(string(out), test.want) || !strings.Contains(string(out), "p.yaml:") {
				t.Errorf("got %s, want file, line and %q", out, test.want)
			}
		})
	}
}
