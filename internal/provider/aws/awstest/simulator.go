package awstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Simulator stands in front of the emulator and speaks what it lacks: of IAM, SimulatePrincipalPolicy, two
// results a page, from what a test granted; of STS, regions that aren't enabled and roles that trust nobody.
// Everything else goes on to the emulator.
type Simulator struct {
	// URL is the endpoint.
	URL string

	mu       sync.Mutex
	grants   map[string][]Grant  // by principal
	off      map[string][]string // regions, by account; "" is any account
	closed   []string            // roles that can't be assumed
	unlisted bool
}

// Grant is what a principal may do: patterns on actions and resources, and the context keys that must have
// values. A grant of kind "deny" or "organization" takes away.
type Grant struct {
	Kind             string // allow if empty; deny; organization
	Action, Resource string
	Context          map[string]string
}

// NewSimulator starts a server for a test.
func NewSimulator(tb testing.TB) *Simulator {
	tb.Helper()
	emulator, err := url.Parse(Emulator(tb))
	if err != nil {
		tb.Fatal(err)
	}
	s := &Simulator{grants: map[string][]Grant{}, off: map[string][]string{}}
	onward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(emulator)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, onward) }))
	tb.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Give grants a principal something.
func (s *Simulator) Give(principal string, grants ...Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[principal] = append(s.grants[principal], grants...)
}

// Disable lets no credentials be used in a region.
func (s *Simulator) Disable(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off[""] = append(s.off[""], region)
}

// Close lets a role be assumed by nobody.
func (s *Simulator) Close(role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, role)
}

// Refuse lets nobody simulate.
func (s *Simulator) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlisted = true
}

// regionOf is the region in a signature's scope.
var regionOf = regexp.MustCompile(`Credential=[^/]+/[0-9]+/([a-z0-9-]+)/`)

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request, onward http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		onward.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	region := regionOf.FindStringSubmatch(r.Header.Get("Authorization"))
	switch form.Get("Action") {
	case "SimulatePrincipalPolicy":
		s.simulate(w, form)
	case "AssumeRole":
		if slices.Contains(s.closed, form.Get("RoleArn")) {
			no(w, "AccessDenied", "not authorized to perform: sts:AssumeRole on resource: "+form.Get("RoleArn"))
			return
		}
		onward.ServeHTTP(w, r)
	case "GetCallerIdentity":
		if region != nil && slices.Contains(s.off[""], region[1]) {
			no(w, "InvalidClientTokenId", "The security token included in the request is invalid")
			return
		}
		onward.ServeHTTP(w, r)
	default:
		onward.ServeHTTP(w, r)
	}
}

// no answers an error as AWS's query protocol does.
func no(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
}

// evaluated is one result as IAM writes it.
type evaluated struct {
	EvalActionName   string
	EvalResourceName string
	EvalDecision     string
	Organizations    *struct{ AllowedByOrganizations bool } `xml:"OrganizationsDecisionDetail"`
	Matched          []matchedStatement                     `xml:"MatchedStatements>member"`
}

type matchedStatement struct{ SourcePolicyId string } //nolint:revive // IAM's name

const perPage = 2

func (s *Simulator) simulate(w http.ResponseWriter, form url.Values) {
	principal := form.Get("PolicySourceArn")
	grants, known := s.grants[principal]
	switch {
	case s.unlisted:
		no(w, "AccessDenied", "not authorized to perform: iam:SimulatePrincipalPolicy")
		return
	case !known:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>there is none</Message></Error></ErrorResponse>")
		return
	}
	context := map[string]string{}
	for i := 1; form.Has(fmt.Sprintf("ContextEntries.member.%d.ContextKeyName", i)); i++ {
		at := fmt.Sprintf("ContextEntries.member.%d.", i)
		context[form.Get(at+"ContextKeyName")] = form.Get(at + "ContextKeyValues.member.1")
	}
	var all []evaluated
	for i := 1; form.Has(fmt.Sprintf("ActionNames.member.%d", i)); i++ {
		name := form.Get(fmt.Sprintf("ActionNames.member.%d", i))
		all = append(all, decide(grants, name, form.Get("ResourceArns.member.1"), context))
	}
	from := len(form.Get("Marker"))
	answer := struct {
		XMLName xml.Name    `xml:"SimulatePrincipalPolicyResponse"`
		Results []evaluated `xml:"SimulatePrincipalPolicyResult>EvaluationResults>member"`
		More    bool        `xml:"SimulatePrincipalPolicyResult>IsTruncated"`
		Marker  string      `xml:"SimulatePrincipalPolicyResult>Marker,omitempty"`
	}{Results: all[min(from, len(all)):min(from+perPage, len(all))], More: from+perPage < len(all)}
	if answer.More {
		answer.Marker = strings.Repeat("x", from+perPage)
	}
	w.Header().Set("Content-Type", "text/xml")
	_ = xml.NewEncoder(w).Encode(answer) // a client that went away
}

func decide(grants []Grant, name, resource string, context map[string]string) evaluated {
	result := evaluated{EvalActionName: name, EvalResourceName: resource, EvalDecision: "implicitDeny"}
	for _, g := range grants {
		fits := glob(strings.ToLower(g.Action), strings.ToLower(name)) && glob(g.Resource, resource)
		for key, value := range g.Context {
			fits = fits && context[key] == value
		}
		switch {
		case !fits:
		case g.Kind == "deny":
			result.EvalDecision, result.Matched = "explicitDeny", []matchedStatement{{"hands-off"}}
			return result
		case g.Kind == "organization":
			result.EvalDecision, result.Organizations = "implicitDeny", &struct{ AllowedByOrganizations bool }{false}
			return result
		default:
			result.EvalDecision = "allowed"
		}
	}
	return result
}

func glob(pattern, text string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(text)
}
