package auth_test

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

func TestCheckSignature(t *testing.T) {
	t.Parallel()
	clock := newClock()
	edge, other := secret.New(strings.Repeat("e", 32)), secret.New(strings.Repeat("o", 32))
	one := keeper(t, auth.Config{Senders: []auth.Sender{{Name: "edge", Secret: edge}}}, clock.Now)
	two := keeper(t, auth.Config{Senders: []auth.Sender{{Name: "edge", Secret: edge}, {Name: "other", Secret: other}}}, clock.Now)
	none := keeper(t, auth.Config{}, clock.Now)
	body := []byte(`{"a":1}`)
	signed := func(change ...string) http.Header {
		header := auth.Sign("edge", edge, clock.now, body)
		for i := 0; i < len(change); i += 2 {
			header.Del(change[i])
			if change[i+1] != "" {
				header.Set(change[i], change[i+1])
			}
		}
		return header
	}
	double := signed()
	double.Add(auth.SignatureHeader, double.Get(auth.SignatureHeader))
	for name, c := range map[string]struct {
		keeper *auth.Keeper
		header http.Header
		body   string
		want   bool
	}{
		"right":             {two, signed(), `{"a":1}`, true},
		"only sender":       {one, signed(auth.SenderHeader, ""), `{"a":1}`, true},
		"which sender":      {two, signed(auth.SenderHeader, ""), `{"a":1}`, false},
		"no senders":        {none, signed(), `{"a":1}`, false},
		"no senders, none":  {none, signed(auth.SenderHeader, ""), `{"a":1}`, false},
		"another's name":    {two, signed(auth.SenderHeader, "other"), `{"a":1}`, false},
		"nobody's name":     {two, signed(auth.SenderHeader, "nobody"), `{"a":1}`, false},
		"another's secret":  {two, auth.Sign("edge", other, clock.now, body), `{"a":1}`, false},
		"another body":      {two, signed(), `{"a":2}`, false},
		"no body":           {two, signed(), ``, false},
		"5 minutes old":     {two, auth.Sign("edge", edge, clock.now.Add(-5*time.Minute), body), `{"a":1}`, true},
		"older":             {two, auth.Sign("edge", edge, clock.now.Add(-5*time.Minute-time.Second), body), `{"a":1}`, false},
		"5 minutes ahead":   {two, auth.Sign("edge", edge, clock.now.Add(5*time.Minute), body), `{"a":1}`, true},
		"more ahead":        {two, auth.Sign("edge", edge, clock.now.Add(5*time.Minute+time.Second), body), `{"a":1}`, false},
		"no timestamp":      {two, signed(auth.TimestampHeader, ""), `{"a":1}`, false},
		"+ timestamp":       {two, signed(auth.TimestampHeader, "+"+signed().Get(auth.TimestampHeader)), `{"a":1}`, false},
		"0 timestamp":       {two, signed(auth.TimestampHeader, "0"+signed().Get(auth.TimestampHeader)), `{"a":1}`, false},
		"smallest":          {two, signed(auth.TimestampHeader, "-9223372036854775808"), `{"a":1}`, false},
		"too large":         {two, signed(auth.TimestampHeader, "99999999999999999999"), `{"a":1}`, false},
		"dotted timestamp":  {two, signed(auth.TimestampHeader, signed().Get(auth.TimestampHeader)+".{"), `"a":1}`, false},
		"no signature":      {two, signed(auth.SignatureHeader, ""), `{"a":1}`, false},
		"without v1=":       {two, signed(auth.SignatureHeader, strings.TrimPrefix(signed().Get(auth.SignatureHeader), "v1=")), `{"a":1}`, false},
		"not hexadecimal":   {two, signed(auth.SignatureHeader, "v1="+strings.Repeat("g", 64)), `{"a":1}`, false},
		"short":             {two, signed(auth.SignatureHeader, signed().Get(auth.SignatureHeader)[:65]), `{"a":1}`, false},
		"empty":             {two, signed(auth.SignatureHeader, "v1="), `{"a":1}`, false},
		"two signatures":    {two, double, `{"a":1}`, false},
		"upper-case digits": {two, signed(auth.SignatureHeader, "v1="+strings.ToUpper(signed().Get(auth.SignatureHeader)[3:])), `{"a":1}`, true},
	} {
		before := maps.Clone(c.header)
		got, err := c.keeper.CheckSignature(c.header, []byte(c.body))
		if (err == nil) != c.want {
			t.Errorf("%s: got %v, want it right: %v", name, err, c.want)
		}
		if err != nil && (!errors.Is(err, auth.ErrUnauthenticated) || !fault.Is(err, fault.Denied)) {
			t.Errorf("%s: got %v, want it denied as unauthenticated", name, err)
		}
		if c.want && (got.Name != "edge" || !got.May(auth.EventsWrite) || got.May(auth.IncidentsRead)) {
			t.Errorf("%s: got %v, want edge, who may hand in events only", name, got)
		}
		if diff := cmp.Diff(before, c.header); diff != "" {
			t.Errorf("%s: the headers were changed: %s", name, diff)
		}
	}
}

// A fixed example, for whoever writes a sender: printf '1767323045.{"a":1}' | openssl dgst -sha256 -hmac KEY
// gives it too, where KEY is 0123456789abcdef0123456789abcdef.
func TestSignIsAsDocumented(t *testing.T) {
	t.Parallel()
	at := time.Unix(1767323045, 999)
	got := auth.Sign("edge", secret.New("0123456789abcdef0123456789abcdef"), at, []byte(`{"a":1}`))
	want := http.Header{
		"Riposte-Sender": {"edge"}, "Riposte-Timestamp": {"1767323045"}, "Riposte-Signature": {"v1=2d008615188c6f47e7dfa18dbd151ae2b7aae64dbda6542650d43e0b98ad0a95"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzCheckSignature(f *testing.F) {
	clock := newClock()
	key := secret.New(strings.Repeat("e", 32))
	k, err := auth.New(auth.Config{Senders: []auth.Sender{{Name: "edge", Secret: key}}}, clock.Now)
	if err != nil {
		f.Fatal(err)
	}
	right := auth.Sign("edge", key, clock.now, []byte("x"))
	f.Add("edge", right.Get(auth.TimestampHeader), right.Get(auth.SignatureHeader), []byte("x"))
	f.Add("", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, sender, timestamp, signature string, body []byte) {
		header := http.Header{}
		header.Set(auth.SenderHeader, sender)
		header.Set(auth.TimestampHeader, timestamp)
		header.Set(auth.SignatureHeader, signature)
		got, err := k.CheckSignature(header, body)
		same := timestamp == right.Get(auth.TimestampHeader) && string(body) == "x" && (sender == "edge" || sender == "") &&
			strings.EqualFold(signature[min(len(signature), 3):], right.Get(auth.SignatureHeader)[3:])
		if err == nil && !same {
			t.Errorf("%q %q %q %q: lets in %v", sender, timestamp, signature, body, got)
		}
	})
}
