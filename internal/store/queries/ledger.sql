-- name: LedgerHead :one
SELECT size, root, note FROM ledger_head WHERE id = 1;

-- name: InsertLedgerHead :exec
INSERT INTO ledger_head (id, size, root, note) VALUES (1, 0, $1, $2) ON CONFLICT DO NOTHING;

-- name: UpdateLedgerHead :exec
UPDATE ledger_head SET size = $1, root = $2, note = $3 WHERE id = 1;

-- name: LedgerHash :one
SELECT hash FROM ledger_hashes WHERE idx = $1;

-- name: LedgerEntry :one
SELECT entry FROM ledger_entries WHERE seq = $1;
