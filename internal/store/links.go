package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/riposte-sec/riposte/internal/approvallink"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/question"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// KeepLink keeps a link by which somebody can answer a question.
func (s *Store) KeepLink(ctx context.Context, l approvallink.Link) error {
	if len(l.Digest) != 64 { // as many digits as a SHA-256 has: never the token itself
		return fault.New(fault.Invalid, "keep link: no digest of a token")
	}
	body, err := encode(l)
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		return tx.check("keep link", tx.q.SaveLink(ctx, query.SaveLinkParams{
			Digest: l.Digest, Approval: text(l.Approval), Expires: micros(l.Expires), Body: body,
		}))
	})
}

// Link gives the link whose token has a digest.
func (s *Store) Link(ctx context.Context, digest string) (approvallink.Link, error) {
	row, err := s.q.Link(ctx, text(digest))
	if errors.Is(err, sql.ErrNoRows) {
		return approvallink.Link{}, fault.New(fault.NotFound, "there is no such link")
	}
	if err != nil {
		return approvallink.Link{}, s.fault("read link", err)
	}
	var l approvallink.Link
	err = decode(row.Body, &l)
	l.Digest, l.Used = digest, timeOf(row.Used)
	return l, err
}

// UseLink marks a link as used. Of several callers one gets true.
func (s *Store) UseLink(ctx context.Context, digest string, at time.Time) (bool, error) {
	var mine bool
	err := s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.UseLink(ctx, text(digest), micros(at))
		mine = rows > 0
		return tx.check("use link", err)
	})
	return mine && err == nil, err
}

// ReleaseLink takes a use of a link back that led to nothing.
func (s *Store) ReleaseLink(ctx context.Context, digest string, used time.Time) error {
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.q.ReleaseLink(ctx, text(digest), micros(used))
		return tx.check("release link", err)
	})
}

// KeepMessage keeps where a message about a question is, to change it once the question is answered.
func (s *Store) KeepMessage(ctx context.Context, m question.Message) error {
	return s.Update(ctx, func(tx *Tx) error {
		return tx.check("keep message", tx.q.SaveMessage(ctx, query.SaveMessageParams{
			Provider: text(m.Provider), Place: text(m.Place), Message: text(m.ID), Approval: text(m.Approval), Sent: micros(m.Sent),
		}))
	})
}

// AnsweredMessage is a message whose question isn't open any more.
type AnsweredMessage struct {
	question.Message
	Question run.Approval
}

// AnsweredMessages gives messages whose questions aren't open any more, the oldest first.
func (s *Store) AnsweredMessages(ctx context.Context, limit int) ([]AnsweredMessage, error) {
	rows, err := s.q.AnsweredMessages(ctx, int32(min(max(limit, 0), mostLimit)))
	if err != nil {
		return nil, s.fault("look for answered messages", err)
	}
	all := make([]AnsweredMessage, 0, len(rows))
	for _, row := range rows {
		asked, err := approvalOf(query.ApprovalRow{Incident: row.Incident, Body: row.Body})
		if err != nil {
			return nil, err
		}
		all = append(all, AnsweredMessage{
			Message:  question.Message{Provider: row.Provider, Place: row.Place, ID: row.Message, Approval: asked.ID, Sent: timeOf(row.Sent)},
			Question: asked,
		})
	}
	return all, nil
}

// DropMessage forgets a message.
func (s *Store) DropMessage(ctx context.Context, m question.Message) error {
	return s.Update(ctx, func(tx *Tx) error {
		return tx.check("forget message", tx.q.DeleteMessage(ctx, text(m.Provider), text(m.Place), text(m.ID)))
	})
}

// pruneLinks forgets links that ended before a time, and messages that were sent before it.
func (tx *Tx) pruneLinks(ctx context.Context, before int64) (int, error) {
	links, err := tx.q.DeleteOldLinks(ctx, before)
	if err != nil {
		return 0, tx.check("forget old links", err)
	}
	messages, err := tx.q.DeleteOldMessages(ctx, before)
	return int(links + messages), tx.check("forget old messages", err)
}
