-- name: Freezes :many
SELECT body FROM freezes ORDER BY id;

-- name: Standing :many
SELECT CAST(0 AS BIGINT) AS part, id, body FROM freezes
UNION ALL
SELECT CAST(1 AS BIGINT), id, body FROM protections
ORDER BY 1, 2;

-- name: SaveFreeze :exec
INSERT INTO freezes (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body;

-- name: DeleteFreeze :execrows
DELETE FROM freezes WHERE id = $1;

-- name: Protections :many
SELECT body FROM protections ORDER BY id;

-- name: Protection :one
SELECT body FROM protections WHERE id = $1;

-- name: SaveProtection :exec
INSERT INTO protections (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body;

-- name: DeleteProtection :execrows
DELETE FROM protections WHERE id = $1;

-- name: SaveBeat :exec
INSERT INTO nodes (node, beat) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET beat = excluded.beat;

-- name: Lost :many
SELECT node FROM nodes WHERE beat < $1 ORDER BY node;

-- name: Bury :execrows
DELETE FROM nodes WHERE node = $1;

-- name: Probe :exec
INSERT INTO probe (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at;
