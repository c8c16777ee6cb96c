package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/record"
)

// Freezes gives the freezes in force.
func (s *Store) Freezes(ctx context.Context) ([]guardrail.Freeze, error) {
	bodies, err := s.q.Freezes(ctx)
	if err != nil {
		return nil, s.fault("read freezes", err)
	}
	all, err := decodeAll[guardrail.Freeze](bodies)
	if err != nil {
		return nil, err
	}
	return inForce(all, s.now()), nil
}

// inForce leaves out what has ended. It takes all for its own.
func inForce(all []guardrail.Freeze, now time.Time) []guardrail.Freeze {
	return slices.DeleteFunc(all, func(f guardrail.Freeze) bool { return !f.Until.IsZero() && !now.Before(f.Until) })
}

// Standing gives the freezes in force and what no action may change, as they are at one moment.
func (s *Store) Standing(ctx context.Context) ([]guardrail.Freeze, []guardrail.Protection, error) {
	const doing = "read guardrails"
	rows, err := s.q.Standing(ctx)
	if err != nil {
		return nil, nil, s.fault(doing, err)
	}
	var freezes []guardrail.Freeze
	var protections []guardrail.Protection
	for _, row := range rows {
		if row.Part == 0 {
			freezes = append(freezes, guardrail.Freeze{})
			err = decode(row.Body, &freezes[len(freezes)-1])
		} else {
			protections = append(protections, guardrail.Protection{})
			err = decode(row.Body, &protections[len(protections)-1])
		}
		if err != nil {
			return nil, nil, s.fault(doing, err)
		}
	}
	return inForce(freezes, s.now()), protections, nil
}

// SetFreeze sets a freeze, or replaces the one of that id.
func (s *Store) SetFreeze(ctx context.Context, f guardrail.Freeze, rec record.Record) error {
	body, err := encode(f)
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		tx.Append(rec)
		return tx.check("set freeze", tx.q.SaveFreeze(ctx, text(f.ID), body))
	})
}

// LiftFreeze ends a freeze.
func (s *Store) LiftFreeze(ctx context.Context, id string, rec record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		rows, err := tx.q.DeleteFreeze(ctx, text(id))
		return tx.one(rows, err, "freeze", id, []record.Record{rec})
	})
}

// Protections gives what no action may change.
func (s *Store) Protections(ctx context.Context) ([]guardrail.Protection, error) {
	bodies, err := s.q.Protections(ctx)
	if err != nil {
		return nil, s.fault("read protections", err)
	}
	return decodeAll[guardrail.Protection](bodies)
}

// Protect sets a protection, or replaces the one of that id.
func (s *Store) Protect(ctx context.Context, p guardrail.Protection, rec record.Record) error {
	body, err := encode(p)
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		tx.Append(rec)
		return tx.check("set protection", tx.q.SaveProtection(ctx, text(p.ID), body))
	})
}

// Unprotect ends a protection. That of what Riposte itself stands on can't be ended: the error is Denied.
func (s *Store) Unprotect(ctx context.Context, id string, rec record.Record) error {
	return s.Update(ctx, func(tx *Tx) error {
		body, err := tx.q.Protection(ctx, text(id))
		if errors.Is(err, sql.ErrNoRows) {
			return absent("protection", id)
		}
		if err != nil {
			return tx.check("read protection", err)
		}
		var p guardrail.Protection
		if err := decode(body, &p); err != nil {
			return err
		}
		if p.Own {
			return fault.New(fault.Denied, "protection %s covers what Riposte itself stands on; it can't be lifted", id)
		}
		rows, err := tx.q.DeleteProtection(ctx, text(id))
		return tx.one(rows, err, "protection", id, []record.Record{rec})
	})
}
