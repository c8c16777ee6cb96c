package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/store"
)

// trail is a CloudTrail record that can be read.
const trail = `{"eventVersion":"1.08","eventID":"11111111-2222-3333-4444-555555555555","eventTime":"2026-03-04T12:00:00Z",
"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"111111111111"}`

func (o *office) aside(letters ...event.Letter) {
	o.Helper()
	if err := o.Update(o.Context(), func(tx *store.Tx) error { return tx.SaveLetters(o.Context(), letters) }); err != nil {
		o.Fatal(err)
	}
}

func TestLettersArePagedAndShown(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var want []string
	for n := range 7 {
		l := event.Letter{
			ID: fmt.Sprintf("letter-%d", n), Format: []string{"record", "message"}[n%2], Origin: hostile, Reason: hostile,
			Raw: fmt.Appendf(nil, "%d\xff%s", n, hostile), Received: noon.Add(time.Duration(n) * time.Second),
		}
		o.aside(l)
		want = append(want, l.ID)
	}
	slices.Reverse(want)
	id := func(l event.Letter) string { return l.ID }
	for _, limit := range []string{"1", "3", "500"} {
		if got := pages(o, "/v1/deadletters", url.Values{"limit": {limit}}, id); !slices.Equal(got, want) {
			t.Errorf("%s at once: got %v, want %v", limit, got, want)
		}
	}
	if got := pages(o, "/v1/deadletters", url.Values{"format": {"message"}}, id); len(got) != 3 {
		t.Errorf("of one format: got %v, want 3", got)
	}
	shown := get[api.LetterDetail](o, "/v1/deadletters/letter-3")
	if !strings.HasPrefix(shown.Text, "3\ufffd</script>") || string(shown.Letter.Raw) != "3\xff"+hostile {
		t.Errorf("got the text %q and the bytes %q", shown.Text, shown.Letter.Raw)
	}
}

func TestReplayingAndDeletingLetters(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.aside(event.Letter{ID: "good", Format: "record", Origin: "file:1", Reason: "then unknown", Raw: []byte(trail), Received: noon},
		event.Letter{ID: "bad", Format: "record", Origin: "file:2", Reason: "broken", Raw: []byte("{"), Received: noon})

	o.ask(auth.SecurityEngineer, http.MethodPost, "/v1/deadletters/bad/replay", "").refused(http.StatusBadRequest)
	if got := get[api.LetterDetail](o, "/v1/deadletters/bad").Letter; !got.Replayed.IsZero() {
		t.Errorf("a letter that still can't be read is marked as replayed")
	}
	read[api.Done](o.ask(auth.SecurityEngineer, http.MethodPost, "/v1/deadletters/good/replay", ""))
	for query, want := range map[string]int{"": 1, "?all=true": 2} {
		if got := get[store.Page[event.Letter]](o, "/v1/deadletters"+query).Items; len(got) != want {
			t.Errorf("deadletters%s: got %d, want %d", query, len(got), want)
		}
	}
	read[api.Done](o.ask(auth.SecurityEngineer, http.MethodDelete, "/v1/deadletters/bad", ""))
	o.ask(auth.SecurityEngineer, http.MethodDelete, "/v1/deadletters/bad", "").refused(http.StatusNotFound, "bad")
	for kind, want := range map[record.Kind]int{record.LetterReplayed: 1, record.LetterDeleted: 1} {
		if got := o.recorded(kind, "security_engineer"); got != want {
			t.Errorf("the ledger has %d entries %s, want %d", got, kind, want)
		}
	}
}
