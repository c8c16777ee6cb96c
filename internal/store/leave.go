package store

import "context"

// Leave takes a node that ends off the roster. Where it leaves legs unfinished, it counts as lost at once, so that
// the next node that looks takes them over.
func (s *Store) Leave(ctx context.Context, node string, unfinished bool) error {
	statement := "DELETE FROM nodes WHERE node = $1"
	if unfinished {
		statement = "UPDATE nodes SET beat = 1 WHERE node = $1"
	}
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.db.ExecContext(ctx, statement, text(node))
		return tx.check("leave", err)
	})
}
