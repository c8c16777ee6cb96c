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
	"slices"
	"strings"
	"sync"
	"testing"
)

// Credentialed stands in front of the emulator and speaks what it lacks of IAM: users' permissions boundaries and
// their service-specific credentials. It has one user, who is called by Name and has nothing else; everything else
// goes on to the emulator.
type Credentialed struct {
	// URL is the endpoint.
	URL string
	// Name is the user's, Credential the id of the user's credential for CodeCommit.
	Name, Credential string

	mu       sync.Mutex
	boundary string
	status   string
}

// NewCredentialed starts a server for a test.
func NewCredentialed(tb testing.TB) *Credentialed {
	tb.Helper()
	emulator, err := url.Parse(Emulator(tb))
	if err != nil {
		tb.Fatal(err)
	}
	c := &Credentialed{Name: "ada", Credential: "ACCAEXAMPLE123EXAMPLE", status: "Active"}
	onward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(emulator)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the request broke off", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		asked, err := url.ParseQuery(string(body))
		if err != nil || !c.answer(w, asked) {
			onward.ServeHTTP(w, r)
		}
	}))
	tb.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// State tells the user's boundary and the credential's status.
func (c *Credentialed) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "boundary " + c.boundary + ", credential " + c.status
}

// Bind sets the user's boundary, as somebody else.
func (c *Credentialed) Bind(policy string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boundary = policy
}

// answer speaks IAM; it tells whether it knows what is asked.
func (c *Credentialed) answer(w http.ResponseWriter, asked url.Values) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	operation := asked.Get("Action")
	known := []string{
		"GetUser", "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary", "ListServiceSpecificCredentials", "UpdateServiceSpecificCredential",
	}
	if !slices.Contains(known, operation) {
		return false
	}
	wrong := operation == "UpdateServiceSpecificCredential" && asked.Get("ServiceSpecificCredentialId") != c.Credential
	if asked.Get("UserName") != c.Name || wrong || operation == "DeleteUserPermissionsBoundary" && c.boundary == "" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>`+
			`<Code>NoSuchEntity</Code><Message>it cannot be found</Message></Error></ErrorResponse>`)
		return true
	}
	result := ""
	switch operation {
	case "PutUserPermissionsBoundary":
		c.boundary = asked.Get("PermissionsBoundary")
	case "DeleteUserPermissionsBoundary":
		c.boundary = ""
	case "UpdateServiceSpecificCredential":
		c.status = asked.Get("Status")
	case "ListServiceSpecificCredentials":
		result = fmt.Sprintf("<ServiceSpecificCredentials><member><UserName>%s</UserName><Status>%s</Status><ServiceUserName>ada-at-1</ServiceUserName>"+
			"<ServiceSpecificCredentialId>%s</ServiceSpecificCredentialId><ServiceName>codecommit.amazonaws.com</ServiceName>"+
			"<CreateDate>2026-01-02T03:04:05Z</CreateDate></member></ServiceSpecificCredentials>", c.Name, c.status, c.Credential)
	case "GetUser":
		result = "<User><UserName>" + c.Name + "</UserName><Path>/</Path><UserId>AIDAEXAMPLE</UserId><Arn>arn:aws:iam::" + Home + ":user/" + c.Name +
			"</Arn><CreateDate>2026-01-02T03:04:05Z</CreateDate>" + c.bound() + "</User>"
	}
	_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`,
		operation, result)
	return true
}

func (c *Credentialed) bound() string {
	if c.boundary == "" {
		return ""
	}
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(c.boundary))
	return "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType><PermissionsBoundaryArn>" +
		escaped.String() + "</PermissionsBoundaryArn></PermissionsBoundary>"
}
