package store_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/approvallink"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
)

func TestALinkIsUsedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		link := approvallink.Link{
			Digest: strings.Repeat("0a", 32), Approval: "ask-1", Hash: "h", Name: "ann@example.com", Roles: []string{"incident_analyst"},
			Made: noon, Expires: noon.Add(time.Hour),
		}
		if err := t.KeepLink(t.Context(), link); err != nil {
			t.Fatal(err)
		}
		if err := t.KeepLink(t.Context(), approvallink.Link{Digest: "a token"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("what is no digest is kept: %v", err)
		}
		if _, err := t.Link(t.Context(), strings.Repeat("0b", 32)); !fault.Is(err, fault.NotFound) {
			t.Errorf("a link that there isn't: got %v", err)
		}
		got, err := t.Link(t.Context(), link.Digest)
		if diff := cmp.Diff(link, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		at := noon.Add(time.Minute).Truncate(time.Microsecond)
		var winners atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				mine, err := t.UseLink(t.Context(), link.Digest, at)
				if err != nil {
					t.Error(err)
				}
				if mine {
					winners.Add(1)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d used it, want 1", winners.Load())
		}
		if got, err := t.Link(t.Context(), link.Digest); err != nil || !got.Used.Equal(at) {
			t.Errorf("got used %v, %v, want %v", got.Used, err, at)
		}
		if err := t.ReleaseLink(t.Context(), link.Digest, at.Add(time.Second)); err != nil { // another's use
			t.Fatal(err)
		}
		if mine, err := t.UseLink(t.Context(), link.Digest, at); mine || err != nil {
			t.Errorf("another's use was taken back: %v", err)
		}
		if err := t.ReleaseLink(t.Context(), link.Digest, at); err != nil {
			t.Fatal(err)
		}
		if mine, err := t.UseLink(t.Context(), link.Digest, at); !mine || err != nil {
			t.Errorf("a link that was given back can't be used: %v", err)
		}
	})
}

func TestMessagesAreFoundOnceTheirQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		d := opened("1")
		save(t, t.Store, d)
		at := noon.Truncate(time.Microsecond).UTC()
		asked := run.Approval{ID: "ask-1", Run: "run-1", Incident: "inc-1", Hash: "h", Asked: at, Answer: run.Pending}
		r := d.Runs[0]
		write := func() {
			t.Helper()
			if err := t.Write(t.Context(), run.Entry{Run: r, Approvals: []run.Approval{asked}}); err != nil {
				t.Fatal(err)
			}
		}
		write()
		m := question.Message{Provider: "slack", Place: "C1", ID: "1.2", Approval: "ask-1", Sent: at}
		for range 2 { // a message that is told of again is one
			if err := t.KeepMessage(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if due, err := t.AnsweredMessages(t.Context(), 10); err != nil || len(due) != 0 {
			t.Errorf("the question is open, and due are %v, %v", due, err)
		}
		asked.Answer, asked.By = run.Refused, "ann"
		write()
		due, err := t.AnsweredMessages(t.Context(), 10)
		if err != nil || len(due) != 1 || due[0].Question.By != "ann" {
			t.Fatalf("got %v, %v", due, err)
		}
		if diff := cmp.Diff(m, due[0].Message); diff != "" {
			t.Error(diff)
		}
		if err := t.DropMessage(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if due, err := t.AnsweredMessages(t.Context(), 10); err != nil || len(due) != 0 {
			t.Errorf("dropped, and due are %v, %v", due, err)
		}
	})
}

func TestOldLinksAndMessagesGo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t with) {
		for i, ends := range []time.Duration{-time.Hour, time.Hour} {
			link := approvallink.Link{Digest: strings.Repeat(string(rune('a'+i)), 64), Approval: "ask", Expires: noon.Add(ends)}
			message := question.Message{Provider: "slack", Place: "C1", ID: link.Digest, Approval: "ask", Sent: noon.Add(ends)}
			if err := t.KeepLink(t.Context(), link); err != nil {
				t.Fatal(err)
			}
			if err := t.KeepMessage(t.Context(), message); err != nil {
				t.Fatal(err)
			}
		}
		if gone, err := t.Prune(t.Context(), noon); err != nil || gone != 2 {
			t.Errorf("%d rows went, %v; want 2", gone, err)
		}
		if _, err := t.Link(t.Context(), strings.Repeat("b", 64)); err != nil {
			t.Errorf("what has not ended is gone: %v", err)
		}
	})
}
