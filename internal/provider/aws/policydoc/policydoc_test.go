package policydoc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

func parse(t *testing.T, text string) policydoc.Document {
	t.Helper()
	d, err := policydoc.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What isn't changed is written as it was read: the order of names, the order in sets, one value or a list.
func TestDocumentsKeepTheirForm(t *testing.T) {
	t.Parallel()
	const text = `{"Statement":[{"Resource":["b","a"],"Effect":"Allow","Action":"s3:Get*","Principal":{"Service":"x.amazonaws.com",` +
		`"AWS":["2","1"]},"Sid":"\u0041","Condition":{"NumericLessThan":{"s3:max-keys":10.0},"Bool":{"aws:SecureTransport":true}}}],"Id":"i","Version":"2008-10-17"}`
	if diff := cmp.Diff(text, string(parse(t, text).Text())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := strings.Replace(text, `"AWS":["2","1"]`, `"AWS":["2"]`, 1)
	want = strings.Replace(want, `"Service":"x.amazonaws.com"`, `"Service":["x.amazonaws.com"]`, 1)
	got, gone := parse(t, text).Strip(func(_ policydoc.Statement, p policydoc.Principal) bool { return p.Value == "1" })
	if diff := cmp.Diff(want, string(got.Text())); diff != "" {
		t.Errorf("without one (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policydoc.Stripped{{Statement: "A", Principal: policydoc.Principal{Type: "AWS", Value: "1"}}}, gone); diff != "" {
		t.Errorf("what is gone (-want +got):\n%s", diff)
	}
}

func TestParseRefusesWhatIsNoPolicy(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"Statement":[{}]}`, `{"Statement":[{"Effect":"allow"}]}`, `{"Statement":[],"Statement":[]}`,
		`{"Statement":[]} {}`, `{"Statement":[{"Effect":"Allow","Effect":"Deny"}]}`, `{"statement":[]}`,
		`{"Statement":[{"Effect":"Allow","Principal":"somebody"}]}`, `{"Statement":[{"Effect":"Allow","Principal":{"Aws":"*"}}]}`,
		`{"Statement":[{"Effect":"Allow","Condition":{"Bool":{"k":{}}}}]}`, `{"Statement":[{"Effect":"Allow","Condition":[]}]}`,
		`{"Statement":"x"}`, `{"Statement":[null]}`, `{"Statement":[],"Id":"` + strings.Repeat("x", policydoc.Largest) + `"}`,
	} {
		if _, err := policydoc.Parse([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.80s: got %v, want an error of kind invalid", text, err)
		}
	}
}

func TestMeaning(t *testing.T) {
	t.Parallel()
	const one = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::123456789012:root"]},"Action":["b","a"],"Resource":"*",` +
		`"Condition":{"StringEquals":{"aws:PrincipalOrgID":["o-1"]}}}}`
	for other, want := range map[string]bool{
		one: true,
		`{"Statement":[{"Sid":"","Action":["a","b","a"],"Resource":["*"],"Effect":"Allow","Principal":{"AWS":"123456789012"},` +
			`"Condition":{"StringEquals":{"aws:principalorgid":"o-1"}}}],"Version":"2012-10-17"}`: true,
		strings.Replace(one, "2012", "2008", 1):              false,
		strings.Replace(one, "Allow", "Deny", 1):             false,
		strings.Replace(one, `"a"`, `"A"`, 1):                false,
		strings.Replace(one, `"o-1"`, `"o-1","o-2"`, 1):      false,
		strings.Replace(one, "Principal", "NotPrincipal", 1): false,
		`no policy`: false,
	} {
		if got := policydoc.Same(json.RawMessage(one), json.RawMessage(other)); got != want {
			t.Errorf("%s: got the same: %t, want %t", other, got, want)
		}
	}
	dead := `{"Statement":[{"Effect":"Deny","Principal":{"AWS":"AROAEXAMPLEROLEID1234"}},{"Effect":"Allow","Principal":{"AWS":["1","AIDAEXAMPLEUSERID1234"]}}]}`
	if !policydoc.Same(json.RawMessage(dead), json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"1"}}}`)) {
		t.Error("a principal that was deleted is somebody")
	}
	everybody := `{"Statement":{"Effect":"Allow","Principal":"*"}}`
	if !policydoc.Same(json.RawMessage(everybody), json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"}}}`)) {
		t.Error("everybody isn't everybody")
	}
}

func TestNarrowed(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		`{}`: false,
		`{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`:                       true,
		`{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-1"}}`:               false,
		`{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}`:                    false,
		`{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-1"}}`:          false,
		`{"StringLike":{"aws:PrincipalOrgID":"*"}}`:                           false,
		`{"StringLike":{"AWS:SourceVpce":["vpce-1","*"]}}`:                    false,
		`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::123456789012:role/*"}}`: true,
		`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin"}}`:        false,
		`{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::bucket"}}`:                 true,
		`{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}`:                      false,
		`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`:                     true,
		`{"IpAddress":{"aws:SourceIp":["203.0.113.7","0.0.0.0/0"]}}`:          false,
		`{"IpAddress":{"aws:SourceIp":"::/0"}}`:                               false,
		`{"StringEquals":{"aws:Referer":"https://example.com"}}`:              false,
		`{"Bool":{"aws:SecureTransport":"true"}}`:                             false,
	} {
		s, err := policydoc.ParseStatement([]byte(`{"Effect":"Allow","Principal":"*","Condition":` + condition + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Narrowed(); got != want {
			t.Errorf("%s: got %t, want %t", condition, got, want)
		}
	}
}

func TestPutReplacesByItsSid(t *testing.T) {
	t.Parallel()
	statement, err := policydoc.ParseStatement([]byte(`{"Sid":"Mine","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`))
	if err != nil {
		t.Fatal(err)
	}
	once := policydoc.New().Put(statement)
	if got := once.Put(statement); string(got.Text()) != string(once.Text()) || !got.Has("Mine") {
		t.Errorf("put twice: got %s", got.Text())
	}
	if got := len(parse(t, `{"Statement":{"Effect":"Allow","Action":"a","Resource":"*"}}`).Put(statement).Statements()); got != 2 {
		t.Errorf("got %d statements, want 2", got)
	}
}

// A document, whatever it is, is refused or written with the meaning that it was read with.
func FuzzParse(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["1","*"]},"Action":"*","Resource":"*"}]}`)
	f.Add(`{"Statement":{"Sid":"a","Effect":"Deny","NotPrincipal":{"AWS":"1"},"Condition":{"Bool":{"aws:x":[true,1.5e3]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := policydoc.Parse([]byte(text))
		if err != nil {
			return
		}
		if !policydoc.Same(json.RawMessage(text), d.Text()) {
			t.Errorf("%s came back as %s", text, d.Text())
		}
		left, _ := d.Strip(func(_ policydoc.Statement, p policydoc.Principal) bool { return p.Everybody() })
		for _, s := range parse(t, string(left.Text())).Statements() {
			for _, p := range s.Principals {
				if s.Effect == policydoc.Allow && p.Everybody() {
					t.Errorf("%s still allows everybody", left.Text())
				}
			}
		}
	})
}
