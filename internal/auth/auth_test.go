package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func generate(t *testing.T) (token, hash string) {
	t.Helper()
	token, hash, err := auth.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return token, hash
}

func keeper(t *testing.T, c auth.Config, now func() time.Time) *auth.Keeper {
	t.Helper()
	k, err := auth.New(c, now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func request(from string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/incidents", http.NoBody)
	r.RemoteAddr = from
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	return r
}

func TestWho(t *testing.T) {
	t.Parallel()
	clock := newClock()
	ann, annHash := generate(t)
	bob, bobHash := generate(t)
	stranger, _ := generate(t)
	k := keeper(t, auth.Config{Tokens: []auth.Token{
		{Name: "ann", SHA256: annHash, Roles: []auth.Role{auth.IncidentAnalyst}},
		{Name: "bob@example.com", SHA256: strings.ToUpper(bobHash), Roles: []auth.Role{auth.Admin}, Expires: clock.now.Add(time.Hour)},
	}}, clock.Now)
	for name, want := range map[string]struct {
		headers []string
		who     string
	}{
		"ann":             {[]string{"Bearer " + ann}, "ann"},
		"lower case":      {[]string{"bearer " + ann}, "ann"},
		"bob":             {[]string{"Bearer " + bob}, "bob@example.com"},
		"stranger":        {[]string{"Bearer " + stranger}, ""},
		"nothing":         {nil, ""},
		"empty":           {[]string{""}, ""},
		"no token":        {[]string{"Bearer"}, ""},
		"blank token":     {[]string{"Bearer "}, ""},
		"two":             {[]string{"Bearer " + ann, "Bearer " + ann}, ""},
		"basic":           {[]string{"Basic " + ann}, ""},
		"the hash itself": {[]string{"Bearer " + annHash}, ""},
		"cut":             {[]string{"Bearer " + ann[:len(ann)-1]}, ""},
		"more":            {[]string{"Bearer " + ann + " "}, ""},
		"huge":            {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, ""},
	} {
		got, err := k.Who(request("192.0.2.1:1000", want.headers...))
		if got.Name != want.who || (err == nil) != (want.who != "") {
			t.Errorf("%s: got %q, %v; want %q", name, got.Name, err, want.who)
		}
		if err != nil && (!errors.Is(err, auth.ErrUnauthenticated) || !fault.Is(err, fault.Denied)) {
			t.Errorf("%s: got %v, want it denied as unauthenticated", name, err)
		}
		for _, header := range want.headers {
			if _, token, _ := strings.Cut(header, " "); err != nil && len(token) > 1 && strings.Contains(err.Error(), token) {
				t.Errorf("%s: the error tells the token: %v", name, err)
			}
		}
	}
	clock.move(time.Hour)
	if _, err := k.Who(request("192.0.2.1:1000", "Bearer "+bob)); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("expired: got %v, want it unauthenticated", err)
	}
	if _, err := k.Who(request("192.0.2.1:1000", "Bearer "+ann)); err != nil {
		t.Errorf("without end: %v", err)
	}
}

func TestAnIdentityIsACopy(t *testing.T) {
	t.Parallel()
	token, hash := generate(t)
	k := keeper(t, auth.Config{Tokens: []auth.Token{{Name: "ann", SHA256: hash, Roles: []auth.Role{auth.Monitor}}}}, time.Now)
	first, err := k.Who(request("192.0.2.1:1", "Bearer "+token))
	if err != nil {
		t.Fatal(err)
	}
	first.Roles[0] = auth.Admin
	if again, _ := k.Who(request("192.0.2.1:1", "Bearer "+token)); again.May(auth.TokensManage) {
		t.Error("who changes an identity changes the next one")
	}
}

func TestForbiddenIsNotUnauthenticated(t *testing.T) {
	t.Parallel()
	ann := auth.Identity{Name: "ann", Roles: []auth.Role{auth.IncidentAnalyst}}
	err := ann.Check(auth.RailsUnfreeze)
	if !fault.Is(err, fault.Denied) || errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("got %v, want it denied and not unauthenticated", err)
	}
	if got, want := err.Error(), "ann lacks the permission rails.unfreeze, which security_engineer, admin have"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := ann.Check(auth.RailsFreeze); err != nil {
		t.Errorf("got %v, want none", err)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	const table = `
                 security_engineer cloud_architect incident_analyst compliance_officer admin event_sender monitor
incidents.read   yes               yes             yes              yes                yes   -            -
incidents.write  yes               -               yes              -                  yes   -            -
runs.approve     yes               yes             yes              -                  yes   -            -
runs.undo        yes               -               yes              -                  yes   -            -
rails.read       yes               yes             yes              yes                yes   -            -
rails.freeze     yes               yes             yes              -                  yes   -            -
rails.unfreeze   yes               -               -                -                  yes   -            -
rails.protect    yes               yes             -                -                  yes   -            -
letters.read     yes               -               yes              -                  yes   -            -
letters.replay   yes               -               -                -                  yes   -            -
ledger.read      yes               -               yes              yes                yes   -            -
events.write     yes               -               -                -                  yes   yes          -
config.read      yes               yes             -                yes                yes   -            -
tokens.manage    -                 -               -                -                  yes   -            -
metrics.read     yes               yes             -                -                  yes   -            yes`
	rows := strings.Split(strings.TrimSpace(table), "\n")
	var got, want []string
	for _, row := range rows[1:] {
		want = append(want, strings.Join(strings.Fields(row), " "))
	}
	for _, p := range auth.Permissions() {
		cells := []string{string(p)}
		for name := range strings.FieldsSeq(rows[0]) {
			cell := "-"
			if (auth.Identity{Roles: []auth.Role{auth.Role(name)}}).May(p) {
				cell = "yes"
			}
			cells = append(cells, cell)
		}
		got = append(got, strings.Join(cells, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table differs (-want +got):\n%s", diff)
	}
	for _, i := range []auth.Identity{{}, {Roles: []auth.Role{""}}, {Roles: []auth.Role{"root"}}} {
		if slices.ContainsFunc(append(auth.Permissions(), "", "everything"), i.May) {
			t.Errorf("%v may do something", i)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	token, hash := generate(t)
	admin := []auth.Role{auth.Admin}
	long := secret.New(strings.Repeat("k", 32))
	for want, c := range map[string]auth.Config{
		"auth.tokens[0].name: ":                    {Tokens: []auth.Token{{SHA256: hash, Roles: admin}}},
		"auth.tokens[1].name: ":                    {Tokens: []auth.Token{{Name: "a", SHA256: hash, Roles: admin}, {Name: "a\nb"}}},
		`auth.tokens[0].name: "Riposte" is taken`:  {Tokens: []auth.Token{{Name: "Riposte", SHA256: hash, Roles: admin}}},
		`auth.tokens[1].name: "A" is taken`:        {Tokens: []auth.Token{{Name: "a", SHA256: hash, Roles: admin}, {Name: "A"}}},
		"auth.tokens[1].sha256: the same":          {Tokens: []auth.Token{{Name: "a", SHA256: hash, Roles: admin}, {Name: "b", SHA256: hash, Roles: admin}}},
		"auth.tokens[0].sha256: not 64":            {Tokens: []auth.Token{{Name: "a", SHA256: hash[1:], Roles: admin}}},
		"auth.tokens[0].sha256: this is a token":   {Tokens: []auth.Token{{Name: "a", SHA256: token, Roles: admin}}},
		"auth.tokens[0].roles: there is none":      {Tokens: []auth.Token{{Name: "a", SHA256: hash}}},
		`auth.tokens[0].roles[0]: "root"`:          {Tokens: []auth.Token{{Name: "a", SHA256: hash, Roles: []auth.Role{"root"}}}},
		"auth.senders[0].secret: shorter":          {Senders: []auth.Sender{{Name: "a", Secret: secret.New("short")}}},
		"auth.senders[0].name: ":                   {Senders: []auth.Sender{{Secret: long}}},
		`auth.senders[0].name: "a" is taken`:       {Tokens: []auth.Token{{Name: "a", SHA256: hash, Roles: admin}}, Senders: []auth.Sender{{Name: "a", Secret: long}}},
		"auth.tokens: 1001; at most 1000 are kept": {Tokens: make([]auth.Token, 1001)},
	} {
		_, err := auth.New(c, time.Now)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the error tells a token: %v", err)
		}
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	token, hash := generate(t)
	text := fmt.Sprintf(`
tokens:
  - name: ann
    sha256: %s
    roles: [incident_analyst, cloud_architect]
    expires: 2026-12-31
senders:
  - name: edge
    secret: {env: EDGE}
`, hash)
	doc, err := document.Parse("riposte.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var c auth.Config
	if err := doc.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := doc.Resolve(func(string) (string, bool) { return strings.Repeat("k", 32), true }); err != nil {
		t.Fatal(err)
	}
	ann, err := keeper(t, c, newClock().Now).Who(request("", "Bearer "+token))
	want := auth.Identity{Name: "ann", Roles: []auth.Role{auth.IncidentAnalyst, auth.CloudArchitect}}
	if diff := cmp.Diff(want, ann); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	err = document.Decode("riposte.yaml", []byte("tokens: [{name: ann, roles: [root]}]"), &auth.Config{})
	if err == nil || !strings.Contains(err.Error(), "there are security_engineer,") {
		t.Errorf("got %v, want the roles that there are", err)
	}
}
