-- name: SaveLink :exec
INSERT INTO approval_links (digest, approval, expires, used, body) VALUES ($1, $2, $3, 0, $4);

-- name: Link :one
SELECT used, body FROM approval_links WHERE digest = $1;

-- name: UseLink :execrows
UPDATE approval_links SET used = $2 WHERE digest = $1 AND used = 0;

-- name: ReleaseLink :execrows
UPDATE approval_links SET used = 0 WHERE digest = $1 AND used = $2;

-- name: DeleteOldLinks :execrows
DELETE FROM approval_links WHERE expires < $1;

-- name: SaveMessage :exec
INSERT INTO approval_messages (provider, place, message, approval, sent) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (provider, place, message) DO UPDATE SET approval = excluded.approval, sent = excluded.sent;

-- name: AnsweredMessages :many
SELECT m.provider, m.place, m.message, m.sent, a.incident, a.body FROM approval_messages m JOIN approvals a ON a.id = m.approval
WHERE a.answer <> 'pending' ORDER BY m.sent LIMIT $1;

-- name: DeleteMessage :exec
DELETE FROM approval_messages WHERE provider = $1 AND place = $2 AND message = $3;

-- name: DeleteOldMessages :execrows
DELETE FROM approval_messages WHERE sent < $1;
