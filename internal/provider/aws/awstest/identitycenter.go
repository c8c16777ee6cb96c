package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// IdentityCenter stands in front of the emulator and speaks account assignments of IAM Identity Center as AWS
// does: they are made and deleted some time after the call, which may fail. Everything else goes on to the
// emulator.
type IdentityCenter struct {
	// URL is the endpoint.
	URL string
	// Sets are the permission sets that there are: ARN and name.
	Sets map[string]string

	mu       sync.Mutex
	assigned []Assignment
	begun    []operation
	slow     int    // how often somebody must ask until an operation is over
	failure  string // why operations fail; empty: they don't
}

// Assignment is a permission set of a user or a group in an account.
type Assignment struct {
	PermissionSetArn, PrincipalType, PrincipalId, AccountId string //nolint:revive // the names of the API
}

// operation is a change that was begun.
type operation struct {
	what    Assignment
	making  bool
	pending int
}

// NewIdentityCenter starts a server for a test.
func NewIdentityCenter(tb testing.TB, sets map[string]string) *IdentityCenter {
	tb.Helper()
	emulator, err := url.Parse(Emulator(tb))
	if err != nil {
		tb.Fatal(err)
	}
	center := &IdentityCenter{Sets: sets}
	onward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(emulator)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ours := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "SWBExternalService.")
		if !ours {
			onward.ServeHTTP(w, r)
			return
		}
		center.serve(w, r, name)
	}))
	tb.Cleanup(server.Close)
	center.URL = server.URL
	return center
}

// Behave says how often somebody must ask until an operation is over, and why it fails, if it does.
func (c *IdentityCenter) Behave(slow int, failure string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow, c.failure = slow, failure
}

// Assign makes an assignment at once.
func (c *IdentityCenter) Assign(a Assignment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.assigned = append(c.assigned, a)
}

// Assigned lists the assignments.
func (c *IdentityCenter) Assigned() []Assignment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.assigned)
}

func (c *IdentityCenter) serve(w http.ResponseWriter, r *http.Request, name string) {
	var asked struct {
		Assignment

		TargetId                           string //nolint:revive // the names of the API
		AccountAssignmentCreationRequestId string //nolint:revive // the names of the API
		AccountAssignmentDeletionRequestId string //nolint:revive // the names of the API
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if asked.AccountId == "" {
		asked.AccountId = asked.TargetId
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.Sets[asked.PermissionSetArn]; asked.PermissionSetArn != "" && !known {
		fail(w, "ResourceNotFoundException")
		return
	}
	has := slices.Contains(c.assigned, asked.Assignment)
	switch name {
	case "DescribePermissionSet":
		give(w, map[string]any{"PermissionSet": map[string]any{
			"Name": c.Sets[asked.PermissionSetArn], "PermissionSetArn": asked.PermissionSetArn, "SessionDuration": "PT8H",
		}})
	case "ListAccountAssignments":
		list := []Assignment{}
		for _, one := range c.assigned {
			if one.PermissionSetArn == asked.PermissionSetArn && one.AccountId == asked.AccountId {
				list = append(list, one)
			}
		}
		give(w, map[string]any{"AccountAssignments": list})
	case "CreateAccountAssignment", "DeleteAccountAssignment":
		making := name == "CreateAccountAssignment"
		if has == making {
			fail(w, map[bool]string{true: "ConflictException", false: "ResourceNotFoundException"}[making])
			return
		}
		c.begun = append(c.begun, operation{asked.Assignment, making, c.slow})
		c.report(w, len(c.begun)-1)
	case "DescribeAccountAssignmentCreationStatus", "DescribeAccountAssignmentDeletionStatus":
		var at int
		_, err := fmt.Sscanf(asked.AccountAssignmentCreationRequestId+asked.AccountAssignmentDeletionRequestId, "request-%d", &at)
		if err != nil || at >= len(c.begun) {
			fail(w, "ResourceNotFoundException")
			return
		}
		c.report(w, at)
	default:
		fail(w, "UnknownOperationException")
	}
}

// report tells how an operation is getting on; each time it gets on a little.
func (c *IdentityCenter) report(w http.ResponseWriter, at int) {
	o := &c.begun[at]
	status := map[string]any{"RequestId": fmt.Sprintf("request-%d", at), "Status": "IN_PROGRESS"}
	switch {
	case o.pending > 0:
		o.pending--
	case c.failure != "":
		status["Status"], status["FailureReason"] = "FAILED", c.failure
	default:
		status["Status"] = "SUCCEEDED"
		c.assigned = slices.DeleteFunc(c.assigned, func(a Assignment) bool { return a == o.what })
		if o.making {
			c.assigned = append(c.assigned, o.what)
		}
	}
	give(w, map[string]any{map[bool]string{true: "AccountAssignmentCreationStatus", false: "AccountAssignmentDeletionStatus"}[o.making]: status})
}

func give(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "as the test wants it"})
}
