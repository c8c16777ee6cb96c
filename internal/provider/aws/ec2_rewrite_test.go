package aws_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// rewritten stands before the emulator and changes its answers, by the operation's name, to what it can't do itself.
func rewritten(t *testing.T, emulator string, rewrite func(operation, answer string) string) string {
	t.Helper()
	target := given(url.Parse(emulator))(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, err := url.ParseQuery(string(body))
		if err != nil {
			form = url.Values{}
		}
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(target)
				p.Out.Host = p.In.Host
				p.Out.Header.Set("Accept-Encoding", "identity")
			},
			ModifyResponse: func(answer *http.Response) error {
				text, err := io.ReadAll(answer.Body)
				if err != nil {
					return err
				}
				changed := rewrite(form.Get("Action"), string(text))
				answer.Body = io.NopCloser(strings.NewReader(changed))
				answer.ContentLength = int64(len(changed))
				answer.Header.Set("Content-Length", strconv.Itoa(len(changed)))
				return nil
			},
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// slowly makes instances stop and start as they do at AWS: for a few readings they are on their way.
func slowly(readings int) func(operation, answer string) string {
	var mu sync.Mutex
	left := 0
	return func(operation, answer string) string {
		mu.Lock()
		defer mu.Unlock()
		switch operation {
		case "StopInstances", "StartInstances":
			left = readings
		case "DescribeInstances":
			if left > 0 {
				left--
				answer = strings.ReplaceAll(answer, "<name>stopped</name>", "<name>stopping</name>")
				answer = strings.ReplaceAll(answer, "<name>running</name>", "<name>pending</name>")
			}
		}
		return answer
	}
}

func TestStopInstanceKeepsTheContractWhileItTakesTime(t *testing.T) {
	l := newEC2LabBehind(t, func(emulator string) string { return rewritten(t, emulator, slowly(4)) })
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.stop_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(*testing.T) string { return string(l.instance(instance).State.Name) },
	})
}

// What is on its way between running and stopped is no state to plan from, and is one a little later.
func TestStopInstanceWaitsToPlan(t *testing.T) {
	l := newEC2LabBehind(t, func(emulator string) string { return rewritten(t, emulator, slowly(1)) })
	instance := l.launch(l.group("web"))
	do := l.action("aws.ec2.stop_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	change := given(do.Plan(t.Context(), in))(t)
	given(do.Apply(t.Context(), change))(t)
	if _, err := do.Plan(t.Context(), in); !fault.Is(err, fault.Transient) {
		t.Errorf("planning for an instance that is stopping: got %v, want an error of kind transient", err)
	}
	if again := given(do.Plan(t.Context(), in))(t); !again.Noop {
		t.Error("a plan for a stopped instance says that there is something to do")
	}
}

// An interface that an AWS service manages stays where it is, and whoever approves is told.
func TestIsolateInstanceLeavesManagedInterfacesAlone(t *testing.T) {
	managed := ""
	l := newEC2LabBehind(t, func(emulator string) string {
		return rewritten(t, emulator, func(operation, answer string) string {
			if operation != "DescribeNetworkInterfaces" || managed == "" {
				return answer
			}
			before, after, _ := strings.Cut(answer, managed)
			return before + managed + strings.Replace(after, "<requesterManaged>false<", "<requesterManaged>true<", 1)
		})
	})
	web := l.group("web")
	instance, second := l.twoPorts(web)
	managed = second
	do := l.action("aws.ec2.isolate_instance")
	change := given(do.Plan(t.Context(), l.input(do, map[string]any{"instance_id": instance})))(t)
	if !slices.ContainsFunc(change.Impact, func(line string) bool { return strings.Contains(line, managed) && strings.Contains(line, "NOT cut") }) {
		t.Errorf("the plan doesn't say that %s is not cut: %q", managed, change.Impact)
	}
	given(do.Apply(t.Context(), change))(t)
	got := map[string]int{}
	for _, groups := range l.ports(instance) {
		got[strings.Join(groups, ",")]++
	}
	if diff := cmp.Diff(map[string]int{"riposte-quarantine": 1, "web": 1}, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}
