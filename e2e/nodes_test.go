package e2e_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/storetest"
)

// TestTwoNodesOneDies lets two nodes share PostgreSQL and kills one in the middle of its runs: the other
// finishes them, and what the dead one applied is not applied again.
func TestTwoNodesOneDies(t *testing.T) {
	h := newHouse(t, "nodes")
	key, err := ledger.GenerateKey("riposte.example/nodes")
	if err != nil {
		t.Fatal(err)
	}
	common := settings{store: storetest.Postgres(t), key: key, playbooks: map[string]string{"contain-key": containKey}}
	first, second := common, common
	first.name, second.name = "first", "second"
	one, two := h.configure(first), h.configure(second)
	one.start()
	one.ready()

	var seen atomic.Int64
	dying := make(chan struct{})
	h.door.watch(nil, func(op string) bool {
		if op == "UpdateAccessKey" && seen.Add(1) == 6 {
			_ = one.proc.Process.Kill()
			close(dying)
		}
		return true
	})
	const matters = 12
	var keys, users []string
	for i := range matters {
		user := fmt.Sprintf("nodes-%d", i)
		key, event := h.estate.Leak(user)
		keys, users = append(keys, key), append(users, user)
		h.estate.Send(event)
	}
	select {
	case <-dying:
	case <-time.After(time.Minute):
		t.Fatal("the first node did not come to act")
	}
	one.kill()
	h.door.watch(nil, nil)
	two.start()
	two.ready()
	h.eventually(2*time.Minute, "the second node to finish the first one's runs", func() bool {
		return len(two.runs()) == matters && len(two.runs("ready", "waiting", "held")) == 0
	})
	for _, r := range two.runs() {
		if r.State != run.Succeeded {
			t.Errorf("run about %s: %s, %s", r.Subject, r.State, r.Reason)
		}
	}
	onceEach(t, h, "UpdateAccessKey", "AccessKeyId", keys)
	onceEach(t, h, "PutUserPolicy", "UserName", users)
	contained(t, h, keys, users, nil)
	if out, err := two.cli("ledger", "verify"); err != nil {
		t.Errorf("the ledger does not verify: %v\n%s", err, out)
	}
}

// TestBothNodesWork lets two living nodes share the work, and the same events come twice.
func TestBothNodesWork(t *testing.T) {
	h := newHouse(t, "both")
	key, err := ledger.GenerateKey("riposte.example/both")
	if err != nil {
		t.Fatal(err)
	}
	common := settings{store: storetest.Postgres(t), key: key, playbooks: map[string]string{"contain-key": containKey}}
	first, second := common, common
	first.name, second.name = "first", "second"
	one, two := h.configure(first), h.configure(second)
	one.start()
	one.ready()
	two.start()
	two.ready()
	const matters = 20
	var keys, users []string
	for i := range matters {
		user := fmt.Sprintf("both-%d", i)
		key, event := h.estate.Leak(user)
		keys, users = append(keys, key), append(users, user)
		h.estate.Send(event)
		h.estate.Send(event)
	}
	h.eventually(2*time.Minute, "all runs to end", func() bool {
		return len(two.runs()) == matters && len(two.runs("ready", "waiting", "held")) == 0
	})
	onceEach(t, h, "UpdateAccessKey", "AccessKeyId", keys)
	contained(t, h, keys, users, nil)
	if out, err := one.cli("ledger", "verify"); err != nil {
		t.Errorf("the ledger does not verify: %v\n%s", err, out)
	}
}
