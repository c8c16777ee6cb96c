-- name: FindingByFingerprint :one
SELECT incident, body FROM findings WHERE fingerprint = $1;

-- name: Finding :one
SELECT incident, suppressed, body FROM findings WHERE id = $1;

-- name: InsertFinding :exec
INSERT INTO findings (id, fingerprint, incident, suppressed, product, type, severity, received, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: UpdateFinding :one
UPDATE findings
SET incident = CASE WHEN CAST(sqlc.arg(incident) AS TEXT) = '' THEN incident ELSE sqlc.arg(incident) END,
    suppressed = sqlc.arg(suppressed), severity = sqlc.arg(severity), body = sqlc.arg(body)
WHERE fingerprint = sqlc.arg(fingerprint) RETURNING id;

-- name: InsertEvent :exec
INSERT INTO events (key, received, kept, body, raw) VALUES ($1, $2, 0, $3, $4) ON CONFLICT (key) DO NOTHING;

-- name: LinkEvent :exec
INSERT INTO finding_events (finding, event) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: FindingEvents :many
SELECT e.body, e.raw FROM finding_events f JOIN events e ON e.key = f.event WHERE f.finding = $1 ORDER BY e.received, e.key;

-- name: LetterAgain :execrows
UPDATE letters SET count = count + 1, received = $3, origin = $4, reason = $5, replayed = 0 WHERE format = $1 AND digest = $2;

-- name: InsertLetter :exec
INSERT INTO letters (id, format, digest, origin, reason, raw, received, count, replayed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: Letter :one
SELECT id, format, origin, reason, raw, received, count, replayed FROM letters WHERE id = $1;

-- name: MarkReplayed :execrows
UPDATE letters SET replayed = $2 WHERE id = $1;

-- name: DeleteLetter :execrows
DELETE FROM letters WHERE id = $1;

-- name: CountLetters :one
SELECT COUNT(*) FROM letters WHERE replayed = 0;

-- name: OldEvents :many
SELECT e.key FROM events e WHERE e.received < $1 AND NOT EXISTS (
    SELECT 1 FROM finding_events l JOIN findings f ON f.id = l.finding JOIN incidents i ON i.id = f.incident
    WHERE l.event = e.key AND i.state IN ('open', 'contained'))
ORDER BY e.received LIMIT $2;

-- name: DeleteEvent :exec
DELETE FROM events WHERE key = $1;

-- name: UnlinkEvent :exec
DELETE FROM finding_events WHERE event = $1;

-- name: OldLetters :many
SELECT id FROM letters WHERE received < $1 ORDER BY received LIMIT $2;
