package store

import "context"

// Text is text, for its fuzz test.
var Text = text

// Execute lets a test execute a statement on the writer's connection.
func (s *Store) Execute(ctx context.Context, statement string, args ...any) error {
	return s.Update(ctx, func(tx *Tx) error {
		result, err := tx.db.ExecContext(ctx, statement, args...)
		if err == nil {
			_, err = result.RowsAffected()
		}
		return tx.check("execute", err)
	})
}
