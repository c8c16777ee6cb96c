package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const bucketRule = `title: Bucket deleted
id: 7a3f0c52-6a1d-4b5e-9d1e-0c8c5a3f4b11
logsource: {product: aws, service: cloudtrail}
detection:
  call: {eventSource: s3.amazonaws.com, eventName: %s}
  condition: call
level: high
riposte: {name: bucket-deleted}
`

// TestContentFollowsItsFiles changes rules below a running server, the way Kubernetes does it: what is right
// comes into force whole, what is wrong changes nothing, and people see why.
func TestContentFollowsItsFiles(t *testing.T) {
	h := newHouse(t, "content")
	rules := t.TempDir()
	place := placing(t, rules)
	place(fmt.Sprintf(bucketRule, "DeleteBucketPolicy"))
	riposte := h.configure(settings{name: "one", noQueue: true, rules: rules})
	riposte.start()
	riposte.ready()
	n := 0
	finds := func() bool {
		n++
		riposte.post(fmt.Appendf(nil, `{"eventVersion":"1.08","eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"DeleteBucket","eventID":"del-%d",`+
			`"awsRegion":"eu-west-1","recipientAccountId":"123456789012","requestParameters":{"bucketName":"b"}}`, time.Now().UTC().Format(time.RFC3339), n))
		out, err := riposte.cli("incidents", "list", "--json")
		return err == nil && strings.Contains(out, "Bucket deleted")
	}
	status := func(want string) func() bool {
		return func() bool {
			out, _ := riposte.cli("status") // it fails where a part does
			return strings.Contains(out, want)
		}
	}
	if finds() {
		t.Fatal("a rule that isn't there yet finds something")
	}

	place(strings.Replace(fmt.Sprintf(bucketRule, "DeleteBucket"), "level: high", "level: hgh", 1))
	h.eventually(20*time.Second, "the mistake to be told", status("rule.yaml:7"))
	if got := riposte.readiness(); got != http.StatusOK || finds() {
		t.Errorf("readiness is %d, and a wrong rule must change nothing", got)
	}

	place(fmt.Sprintf(bucketRule, "DeleteBucket"))
	h.eventually(20*time.Second, "the new rule to find", finds)
	if out, err := riposte.cli("ledger", "show", "--kind", "content.taken"); err != nil || strings.Count(out, "content.taken") != 2 {
		t.Errorf("the ledger doesn't tell of two contents: %v\n%s", err, out)
	}
	h.eventually(20*time.Second, "the mistake to be forgotten", func() bool { return status("content")() && !status("rule.yaml:7")() })
}

// placing gives a function that replaces the rules of a folder at once: by a link from one folder to another.
func placing(t *testing.T, folder string) func(rule string) {
	t.Helper()
	version := 0
	return func(rule string) {
		t.Helper()
		version++
		fresh := filepath.Join(folder, fmt.Sprintf("..v%d", version))
		if err := os.Mkdir(fresh, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(fresh, "rule.yaml"), rule)
		next := filepath.Join(folder, "..next")
		if err := os.Symlink(filepath.Base(fresh), next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
		if version == 1 {
			if err := os.Symlink(filepath.Join("..data", "rule.yaml"), filepath.Join(folder, "rule.yaml")); err != nil {
				t.Fatal(err)
			}
		}
	}
}
