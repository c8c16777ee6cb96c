-- name: InsertVersion :exec
INSERT INTO playbook_versions (name, hash, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: InsertRun :execrows
INSERT INTO runs (id, began_in, incident, finding, playbook, hash, subject, state, node, claimed, leg, fence, wake, ready, created, updated, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (began_in, playbook, subject) DO NOTHING;

-- name: Run :one
SELECT incident, leg, fence, updated, body FROM runs WHERE id = $1;

-- name: ClaimRun :execrows
UPDATE runs SET node = $3, claimed = leg, fence = fence + 1, updated = $4, ready = $4
WHERE id = $1 AND leg = $2 AND state = 'ready';

-- name: AdvanceRun :execrows
UPDATE runs SET state = $4, leg = $3, wake = $5, ready = $6, updated = $7, body = $8
WHERE id = $1 AND fence = $2 AND (leg = $3 OR leg = $3 - 1) AND state IN ('ready', 'waiting', 'held');

-- name: Journal :one
SELECT r.incident, r.leg, r.fence, r.updated, r.body, v.text AS playbook, f.body AS finding,
    i.state AS incident_state, i.merged_into, i.updated AS incident_updated, i.body AS incident_body, i.entities
FROM runs r
LEFT JOIN playbook_versions v ON v.name = r.playbook AND v.hash = r.hash
LEFT JOIN findings f ON f.id = r.finding
LEFT JOIN incidents i ON i.id = r.incident
WHERE r.id = $1;

-- name: JournalParts :many
SELECT CAST(0 AS BIGINT) AS part, s.pos AS at, s.id, '' AS incident, s.body FROM steps s WHERE s.run = $1
UNION ALL
SELECT CAST(1 AS BIGINT), a.asked, a.id, a.incident, a.body FROM approvals a WHERE a.run = $1
ORDER BY 1, 2, 3;

-- name: SaveStep :exec
INSERT INTO steps (run, id, pos, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (run, id) DO UPDATE SET pos = excluded.pos, body = excluded.body;

-- name: Approval :one
SELECT incident, body FROM approvals WHERE id = $1;

-- name: SaveApproval :exec
INSERT INTO approvals (id, run, incident, answer, asked, body)
SELECT CAST(sqlc.arg(id) AS TEXT), r.id, r.incident, CAST(sqlc.arg(answer) AS TEXT), CAST(sqlc.arg(asked) AS BIGINT), CAST(sqlc.arg(body) AS TEXT)
FROM runs r WHERE r.id = sqlc.arg(run)
ON CONFLICT (id) DO UPDATE SET answer = excluded.answer, body = excluded.body;

-- name: SaveEffect :exec
INSERT INTO effects (run, step, at, playbook, action, account, region, kind, target, undone)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, FALSE);

-- name: DeleteEffect :exec
DELETE FROM effects WHERE run = $1 AND step = $2;

-- name: UndoEffect :exec
UPDATE effects SET undone = TRUE WHERE run = $1 AND step = $2;

-- name: CountChanges :one
SELECT COUNT(*) FROM effects
WHERE at >= sqlc.arg(since) AND NOT undone
    AND (CAST(sqlc.arg(playbook) AS TEXT) = '' OR playbook = sqlc.arg(playbook)) AND (CAST(sqlc.arg(account) AS TEXT) = '' OR account = sqlc.arg(account))
    AND (CAST(sqlc.arg(region) AS TEXT) = '' OR region = sqlc.arg(region)) AND (CAST(sqlc.arg(kind) AS TEXT) = '' OR kind = sqlc.arg(kind));

-- name: CountTargets :one
SELECT COUNT(DISTINCT target) FROM effects
WHERE at >= sqlc.arg(since) AND NOT undone AND target <> sqlc.arg(itself)
    AND (CAST(sqlc.arg(playbook) AS TEXT) = '' OR playbook = sqlc.arg(playbook)) AND (CAST(sqlc.arg(account) AS TEXT) = '' OR account = sqlc.arg(account))
    AND (CAST(sqlc.arg(region) AS TEXT) = '' OR region = sqlc.arg(region)) AND (CAST(sqlc.arg(kind) AS TEXT) = '' OR kind = sqlc.arg(kind));

-- name: CountAccounts :one
SELECT COUNT(DISTINCT account) FROM effects
WHERE at >= sqlc.arg(since) AND NOT undone AND account <> sqlc.arg(itself)
    AND (CAST(sqlc.arg(playbook) AS TEXT) = '' OR playbook = sqlc.arg(playbook)) AND (CAST(sqlc.arg(account) AS TEXT) = '' OR account = sqlc.arg(account))
    AND (CAST(sqlc.arg(region) AS TEXT) = '' OR region = sqlc.arg(region)) AND (CAST(sqlc.arg(kind) AS TEXT) = '' OR kind = sqlc.arg(kind));

-- name: DueReady :many
SELECT r.incident, r.leg, r.fence, r.updated, r.body FROM runs r
WHERE r.ready > 0 AND r.ready <= sqlc.arg(before)
    AND (r.ready <= sqlc.arg(long_before) OR r.claimed <> r.leg
        OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.node = r.node AND n.beat > sqlc.arg(before)))
ORDER BY r.ready LIMIT sqlc.arg(most);

-- name: ReadyOf :many
SELECT incident, leg, fence, updated, body FROM runs
WHERE ready > 0 AND ready < sqlc.arg(before) AND node = sqlc.arg(node) AND claimed = leg
ORDER BY ready LIMIT sqlc.arg(most);

-- name: DueWake :many
SELECT incident, leg, fence, updated, body FROM runs
WHERE wake > 0 AND wake <= $1 ORDER BY wake LIMIT $2;

-- name: CountRuns :many
SELECT state, COUNT(*) AS n FROM runs GROUP BY state;

-- name: OldestReady :one
SELECT CAST(COALESCE(MIN(ready), 0) AS BIGINT) AS oldest FROM runs WHERE ready > 0;

-- name: CountPending :one
SELECT COUNT(*) FROM approvals WHERE answer = 'pending';
