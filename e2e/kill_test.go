package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/run"
)

const containKey = `playbook: contain-key
summary: Disable a leaked key, deny its user, tell.
on: {findings: ["guardduty:UnauthorizedAccess:IAMUser/*"]}
autonomy: auto
steps:
  - id: who
    use: aws.iam.describe_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
  - id: disable
    use: aws.iam.disable_access_key
    with: {access_key_id: "{{ finding.access_key }}"}
  - id: deny
    use: aws.iam.deny_user
    with: {user: "{{ steps.who.user }}"}
  - id: tell
    use: webhook.send
    with: {endpoint: hook, message: "key {{ finding.access_key }} is disabled"}
`

const keepEvidence = `playbook: keep-evidence
summary: Keep the volumes of an instance, stop it, tell.
on: {findings: ["guardduty:Backdoor:EC2/*"]}
autonomy: auto
steps:
  - id: evidence
    use: aws.ec2.snapshot_volumes
    with: {instance_id: "{{ finding.instance }}"}
  - id: stop
    use: aws.ec2.stop_instance
    with: {instance_id: "{{ finding.instance }}"}
  - id: tell
    use: webhook.send
    with: {endpoint: hook, message: "{{ finding.instance }} is stopped"}
`

// kills is how often the process is killed. Each kill is at another boundary: before the n-th call of the
// process reaches the cloud, after it was carried out and before the answer, or shortly after that.
const kills = 200

// TestKilledAtEveryBoundary kills the process hundreds of times while it responds, and then lets it finish:
// nothing is lost, nothing is applied twice, the ledger verifies.
func TestKilledAtEveryBoundary(t *testing.T) {
	times := kills
	if testing.Short() {
		times = 20
	}
	h := newHouse(t, "kill")
	riposte := h.configure(settings{name: "one", playbooks: map[string]string{"contain-key": containKey, "keep-evidence": keepEvidence}})
	var keys, users, instances []string
	for i := range times {
		if i%4 == 3 {
			id, event := h.estate.Launch()
			instances = append(instances, id)
			h.estate.Send(event)
		} else {
			user := fmt.Sprintf("kill-%d", i)
			key, event := h.estate.Leak(user)
			keys, users = append(keys, key), append(users, user)
			h.estate.Send(event)
		}
		killOnce(h, riposte, i/3%16+1, i%3)
	}
	h.door.watch(nil, nil)
	riposte.start()
	riposte.ready()
	want := len(keys) + len(instances)
	h.eventually(2*time.Minute, "all runs to end", func() bool {
		return len(riposte.runs()) == want && len(riposte.runs("ready", "waiting", "held")) == 0
	})
	for _, r := range riposte.runs() {
		if r.State != run.Succeeded {
			t.Errorf("run %s of %s about %s: %s, %s", r.ID, r.Playbook, r.Subject, r.State, r.Reason)
		}
	}
	onceEach(t, h, "UpdateAccessKey", "AccessKeyId", keys)
	onceEach(t, h, "PutUserPolicy", "UserName", users)
	contained(t, h, keys, users, instances)
	if got := h.hooks.distinct(); got != want {
		t.Errorf("people were told of %d matters, want %d", got, want)
	}
	if out, err := riposte.cli("ledger", "verify"); err != nil {
		t.Errorf("the ledger does not verify: %v\n%s", err, out)
	}
	if out, err := riposte.cli("deadletters", "list", "--json"); err != nil || strings.Contains(out, `"reason"`) {
		t.Errorf("records were set aside: %v\n%s", err, out)
	}
}

// killOnce starts the process and kills it at its n-th call: before, after, or a little after.
func killOnce(h *house, riposte *server, n, how int) {
	var seen atomic.Int64
	trip := make(chan struct{}, 1)
	tripped := func() {
		select {
		case trip <- struct{}{}:
		default:
		}
	}
	var mine atomic.Pointer[os.Process] // a call of this process may end when the next one has started
	kill := func(is bool) bool {
		if process := mine.Load(); is && process != nil {
			_ = process.Kill() // it may be dead already
			tripped()
		}
		return !is
	}
	h.door.watch(func(op string) bool {
		if op == "GetCallerIdentity" {
			return true
		}
		return kill(seen.Add(1) >= int64(n) && how == 0)
	}, func(op string) bool {
		if op == "GetCallerIdentity" || seen.Load() < int64(n) {
			return true
		}
		if how == 2 { // the answer gets through; the kill comes while it is being written down
			time.AfterFunc(time.Duration(n%5)*time.Millisecond, tripped)
			return true
		}
		return kill(how == 1)
	})
	riposte.start()
	mine.Store(riposte.proc.Process)
	select {
	case <-trip:
	case <-time.After(800 * time.Millisecond): // it had nothing more to call
	}
	riposte.kill()
}

// onceEach holds the calls that reached the cloud against the things that they were to change.
func onceEach(t *testing.T, h *house, op, parameter string, ids []string) {
	t.Helper()
	counts := map[string]int{}
	for _, c := range h.door.made(func(c call) bool { return c.op == op }) {
		for _, id := range ids {
			if strings.Contains("&"+c.body+"&", "&"+parameter+"="+id+"&") {
				counts[id]++
			}
		}
	}
	for _, id := range ids {
		if counts[id] != 1 {
			t.Errorf("%s of %s reached the cloud %d times, want once", op, id, counts[id])
		}
	}
}

func contained(t *testing.T, h *house, keys, users, instances []string) {
	t.Helper()
	for i, user := range users {
		if status := h.estate.KeyStatus(user); status != "Inactive" {
			t.Errorf("key %s is %s", keys[i], status)
		}
	}
	for _, id := range instances {
		state, volumes, snapshots := h.estate.Instance(id)
		if volumes == 0 || snapshots != volumes {
			t.Errorf("instance %s has %d volumes and %d snapshots, want one each", id, volumes, snapshots)
		}
		if state != "stopped" {
			t.Errorf("instance %s is %s", id, state)
		}
	}
}
