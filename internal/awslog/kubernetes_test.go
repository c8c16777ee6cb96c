package awslog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/awslog"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

// sample reads a file of testdata.
func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/kubernetes/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// recorded reads the one event of a record.
func recorded(tb testing.TB, raw []byte) event.Event {
	tb.Helper()
	events, err := awslog.Record(raw)
	if err != nil {
		tb.Fatal(err)
	}
	if len(events) != 1 {
		tb.Fatalf("got %d events, want one", len(events))
	}
	return events[0]
}

func TestKubernetesAudit(t *testing.T) {
	raw := sample(t, "exec.json")
	got := recorded(t, raw)
	want := event.Event{
		Key:    "kubernetes.audit|ResponseStarted|2024-05-06T07:08:09.123456Z|8d1f3c52-7a90-4be4-9c11-0b9a35e0a001",
		Source: event.KubernetesAudit, Time: time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC),
		Service: "kubernetes", Name: "create pods/exec", Raw: bytes.TrimSpace(raw),
		Entities: []entity.Entity{
			{Kind: entity.KubernetesUser, ID: "alice", Part: entity.Actor, Provider: "kubernetes", From: "user.username"},
			{Kind: entity.AccessKey, ID: "ASIAEXAMPLE000000001", Part: entity.Actor, Provider: "aws", Account: "111122223333", From: "user.extra.accessKeyId"},
			{
				Kind: entity.Principal, ID: "arn:aws:sts::111122223333:assumed-role/developer/alice", Part: entity.Actor, Provider: "aws", Account: "111122223333",
				ARN: "arn:aws:sts::111122223333:assumed-role/developer/alice", From: "user.extra.arn",
			},
			{
				Kind: entity.Session, ID: "arn:aws:sts::111122223333:assumed-role/developer/alice", Part: entity.Actor, Provider: "aws", Account: "111122223333",
				ARN: "arn:aws:sts::111122223333:assumed-role/developer/alice", From: "user.extra.arn",
			},
			{
				Kind: entity.Role, ID: "developer", Part: entity.Actor, Provider: "aws", Account: "111122223333",
				ARN: "arn:aws:iam::111122223333:role/developer", From: "user.extra.canonicalArn", Derived: true,
			},
			{Kind: entity.Account, ID: "111122223333", Part: entity.Actor, Provider: "aws", Account: "111122223333", From: "user.extra.arn"},
			{Kind: entity.IP, ID: "203.0.113.5", Part: entity.Origin, Provider: "aws", From: "sourceIPs"},
			{Kind: entity.IP, ID: "198.51.100.9", Part: entity.Context, Provider: "aws", From: "sourceIPs"},
			{Kind: entity.UserAgent, ID: "kubectl/v1.29.3 (linux/amd64) kubernetes/0a1b2c3", Part: entity.Origin, Provider: "aws", From: "userAgent"},
			{Kind: entity.Pod, ID: "payments/api-5d9c7b6f4d-x2x9z", Part: entity.Target, Provider: "kubernetes", From: "objectRef"},
			{Kind: entity.Namespace, ID: "payments", Part: entity.Context, Provider: "kubernetes", From: "objectRef.namespace"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event differs (-want +got):\n%s", diff)
	}
}

// named lists entities as part kind id, for comparing.
func named(ev event.Event) []string {
	var all []string
	for _, e := range ev.Entities {
		line := string(e.Part) + " " + string(e.Kind) + " " + e.ID
		if e.Derived {
			line += " (derived)"
		}
		all = append(all, line)
	}
	return all
}

func TestKubernetesEntities(t *testing.T) {
	for name, c := range map[string]struct {
		parts string // of an audit event
		name  string
		code  string
		want  []string
	}{
		"a service account and its pod": {
			`"verb":"list","user":{"username":"system:serviceaccount:shop:web","extra":{"authentication.kubernetes.io/pod-name":["web-1"]}},
			 "objectRef":{"resource":"secrets","namespace":"shop"},"responseStatus":{"code":403,"reason":"Forbidden"}`,
			"list secrets", "Forbidden",
			[]string{"actor kubernetes_user system:serviceaccount:shop:web", "actor pod shop/web-1", "context namespace shop"},
		},
		"a node of EC2": {
			`"verb":"get","user":{"username":"system:node:ip-10-0-0-1.eu-west-1.compute.internal","extra":{
			 "arn":["arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0"],"canonicalArn":["arn:aws:iam::111122223333:role/node"]}},
			 "objectRef":{"resource":"nodes","name":"ip-10-0-0-1.eu-west-1.compute.internal"}`,
			"get nodes", "",
			[]string{
				"actor kubernetes_user system:node:ip-10-0-0-1.eu-west-1.compute.internal",
				"actor principal arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0",
				"actor session arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0",
				"actor role node (derived)", "actor instance i-0123456789abcdef0 (derived)", "actor account 111122223333",
				"target kubernetes_object nodes/ip-10-0-0-1.eu-west-1.compute.internal",
			},
		},
		"a user of IAM by name, without notes": {
			`"verb":"delete","user":{"username":"arn:aws:iam::111122223333:user/ops/bob"},"objectRef":{"resource":"configmaps","namespace":"kube-system","name":"aws-auth"}`,
			"delete configmaps", "",
			[]string{
				"actor kubernetes_user arn:aws:iam::111122223333:user/ops/bob", "actor principal arn:aws:iam::111122223333:user/ops/bob",
				"actor user bob", "actor account 111122223333", "target kubernetes_object configmaps/kube-system/aws-auth", "context namespace kube-system",
			},
		},
		"a role without its canonical form": {
			`"verb":"get","user":{"username":"x","extra":{"arn":["arn:aws:sts::111122223333:assumed-role/app/s"]}},"requestURI":"/version"`,
			"get url", "",
			[]string{
				"actor kubernetes_user x", "actor principal arn:aws:sts::111122223333:assumed-role/app/s",
				"actor session arn:aws:sts::111122223333:assumed-role/app/s", "actor role app (derived)", "actor account 111122223333",
			},
		},
		"somebody as somebody else": {
			`"verb":"get","user":{"username":"alice"},"impersonatedUser":{"username":"admin"},"objectRef":{"resource":"namespaces","namespace":"shop","name":"shop"},"responseStatus":{"code":404}`,
			"get namespaces", "404",
			[]string{"actor kubernetes_user alice", "context kubernetes_user admin", "target namespace shop"},
		},
		"a token": {
			`"verb":"create","user":{"username":"alice"},"objectRef":{"resource":"serviceaccounts","subresource":"token","namespace":"shop","name":"web"},"responseStatus":{"code":201}`,
			"create serviceaccounts/token", "",
			[]string{"actor kubernetes_user alice", "target kubernetes_user system:serviceaccount:shop:web (derived)", "context namespace shop"},
		},
		"a binding": {
			`"verb":"create","user":{"username":"alice"},"objectRef":{"resource":"clusterrolebindings","name":"b"},"requestObject":{"subjects":[
			 {"kind":"User","name":"mallory"},{"kind":"ServiceAccount","namespace":"shop","name":"web"},{"kind":"Group","name":"all"},{"kind":"User"}]}`,
			"create clusterrolebindings", "",
			[]string{
				"actor kubernetes_user alice", "target kubernetes_object clusterrolebindings/b", "target kubernetes_user mallory",
				"target kubernetes_user system:serviceaccount:shop:web (derived)",
			},
		},
		"a pod that is named by the API server": {
			`"verb":"create","user":{"username":"alice"},"objectRef":{"resource":"pods","namespace":"shop"},"responseObject":{"metadata":{"name":"web-7"}},
			 "requestObject":{"spec":{"containers":[{"image":"docker.io/a"},{"image":"docker.io/b"}],"initContainers":[{"image":"docker.io/a"}]}}`,
			"create pods", "",
			[]string{"actor kubernetes_user alice", "target pod shop/web-7", "context namespace shop", "context image docker.io/a", "context image docker.io/b"},
		},
		"images of a job that comes again": {
			`"verb":"update","user":{"username":"alice"},"objectRef":{"resource":"cronjobs","namespace":"shop","name":"c"},
			 "requestObject":{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"image":"docker.io/miner"}]}}}}}}`,
			"update cronjobs", "",
			[]string{"actor kubernetes_user alice", "target kubernetes_object cronjobs/shop/c", "context namespace shop", "context image docker.io/miner"},
		},
		"addresses that are none": {
			`"verb":"get","user":{"username":"alice"},"sourceIPs":["10.0.0.1","","x"]`, "get url", "",
			[]string{"actor kubernetes_user alice", "context ip 10.0.0.1"},
		},
		"parts of other types": {
			`"verb":{},"user":[],"sourceIPs":{},"objectRef":"pods","responseStatus":7,"requestObject":null,"stage":1`, "url", "", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ev := recorded(t, []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stageTimestamp":"2024-05-06T07:08:09Z",`+c.parts+`}`))
			if ev.Name != c.name || ev.ErrorCode != c.code {
				t.Errorf("got name %q, error %q; want %q, %q", ev.Name, ev.ErrorCode, c.name, c.code)
			}
			if diff := cmp.Diff(c.want, named(ev)); diff != "" {
				t.Errorf("entities differ (-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever calls may send an ID of their own; it must not hide another request.
func TestAuditIDOfTheCaller(t *testing.T) {
	keys := make(map[string]string)
	for name, parts := range map[string]string{
		"first":      `"auditID":"same","stage":"ResponseComplete","requestReceivedTimestamp":"2024-05-06T07:08:09.000001Z"`,
		"second":     `"auditID":"same","stage":"ResponseComplete","requestReceivedTimestamp":"2024-05-06T07:08:09.000002Z"`,
		"stage":      `"auditID":"same","stage":"RequestReceived","requestReceivedTimestamp":"2024-05-06T07:08:09.000001Z"`,
		"separators": `"auditID":"2024-05-06T07:08:09.000001Z|same","stage":"ResponseComplete","requestReceivedTimestamp":"2024-05-06T07:08:09.000001Z"`,
		"long":       `"auditID":"` + strings.Repeat("x", 1000) + `","stage":"ResponseComplete","requestReceivedTimestamp":"2024-05-06T07:08:09.000001Z"`,
		"longer":     `"auditID":"` + strings.Repeat("x", 1001) + `","stage":"ResponseComplete","requestReceivedTimestamp":"2024-05-06T07:08:09.000001Z"`,
	} {
		key := recorded(t, []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1",`+parts+`}`)).Key
		if other, ok := keys[key]; ok {
			t.Errorf("%s and %s have one key, %s", name, other, key)
		}
		if len(key) > 200 {
			t.Errorf("%s: the key has %d bytes", name, len(key))
		}
		keys[key] = name
	}
}

func TestKubernetesAuditRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no id":        `{"kind":"Event","apiVersion":"audit.k8s.io/v1","requestReceivedTimestamp":"2024-05-06T07:08:09Z"}`,
		"no time":      `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a"}`,
		"a wrong time": `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","requestReceivedTimestamp":"noon","stageTimestamp":1}`,
		"an event of the cluster, not of its audit": `{"kind":"Event","apiVersion":"v1","auditID":"a","requestReceivedTimestamp":"2024-05-06T07:08:09Z"}`,
		"another kind":             `{"kind":"Policy","apiVersion":"audit.k8s.io/v1","auditID":"a","requestReceivedTimestamp":"2024-05-06T07:08:09Z"}`,
		"a list of something else": `{"kind":"EventList","apiVersion":"v1","items":[]}`,
		"items that are none":      `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":{}}`,
		"no items":                 `{"kind":"EventList","apiVersion":"audit.k8s.io/v1"}`,
	} {
		if events, err := awslog.Record([]byte(text)); !fault.Is(err, fault.Invalid) || len(events) > 0 {
			t.Errorf("%s: got %d events and %v", name, len(events), err)
		}
	}
}

// TestRealAudits reads audit events that others collected. Their times were rewritten on the way, and are put back
// into the form of Kubernetes.
func TestRealAudits(t *testing.T) {
	read := 0
	for _, text := range lines(t, "panther/aws_eks_rules.jsonl", "panther/kubernetes_rules.jsonl") {
		var line struct {
			Log map[string]any `json:"log"`
		}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"requestReceivedTimestamp", "stageTimestamp"} {
			text, _ := line.Log[key].(string)
			if at, err := time.Parse("2006-01-02 15:04:05", text); err == nil {
				line.Log[key] = at.Format(time.RFC3339Nano)
			}
		}
		if line.Log["auditID"] == nil || line.Log["requestReceivedTimestamp"] == nil {
			continue
		}
		raw, err := json.Marshal(line.Log)
		if err != nil {
			t.Fatal(err)
		}
		ev := recorded(t, raw)
		read++
		if ev.Source != event.KubernetesAudit || ev.Name == "" || ev.Time.Year() < 2020 {
			t.Errorf("got %s %q at %s", ev.Source, ev.Name, ev.Time)
		}
		if e, ok := ev.Entity(entity.KubernetesUser); !ok || e.Part != entity.Actor {
			t.Errorf("%s: no actor in %v", ev.Name, named(ev))
		}
	}
	if read < 10 {
		t.Errorf("only %d audit events were read", read)
	}
}

// lines gives the lines of files of the real data; it skips where they are absent.
func lines(tb testing.TB, files ...string) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", name))
		if err != nil {
			tb.Skipf("the real data is not here: %v", err)
		}
		for line := range bytes.Lines(text) {
			all = append(all, line)
		}
	}
	return all
}

func FuzzKubernetesAudit(f *testing.F) {
	for _, name := range []string{"exec.json", "subscription.json", "list.json"} {
		f.Add(sample(f, name))
	}
	f.Add([]byte(`{"awslogs":{"data":"H4sIAAAAAAAA/6tWSk4sKMnPSy1WqlUCAAAA//8="}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		events, err := awslog.Record(raw)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("the error is %v", err)
		}
		for _, ev := range events {
			if ev.Source != event.KubernetesAudit {
				continue
			}
			if ev.Key == "" || ev.Time.IsZero() || !json.Valid(ev.Raw) {
				t.Errorf("got key %q, time %s, raw %.100s", ev.Key, ev.Time, ev.Raw)
			}
			if len(ev.Entities) > 256 {
				t.Errorf("%d entities", len(ev.Entities))
			}
			again, err := awslog.Record(ev.Raw)
			if err == nil && again[0].Source == ev.Source && again[0].Key != ev.Key {
				t.Errorf("read by itself its key is %s, not %s", again[0].Key, ev.Key)
			}
		}
	})
}
