-- name: Incident :one
SELECT state, merged_into, updated, body, entities FROM incidents WHERE id = $1;

-- name: IncidentOfRun :one
SELECT i.state, i.merged_into, i.updated, i.body FROM runs r JOIN incidents i ON i.id = r.incident WHERE r.id = $1;

-- name: InsertIncident :exec
INSERT INTO incidents (id, state, severity, account, owner, title, first_seen, last_seen, opened, updated, merged_into, body, entities)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: UpdateIncident :execrows
UPDATE incidents
SET state = $2, severity = $3, account = $4, owner = $5, title = $6, first_seen = $7, last_seen = $8,
    updated = $9, merged_into = $10, body = $11, entities = $12
WHERE id = $1;

-- name: MarkIncident :exec
UPDATE incidents SET state = $2, updated = $3, body = $4 WHERE id = $1;

-- name: MergeIncident :execrows
UPDATE incidents SET state = 'merged', merged_into = $2, updated = $3 WHERE id = $1;

-- name: MoveMerged :exec
UPDATE incidents SET merged_into = sqlc.arg(into_incident) WHERE merged_into = sqlc.arg(merged) AND merged_into <> '';

-- name: MoveFindings :exec
UPDATE findings SET incident = sqlc.arg(into_incident) WHERE incident = sqlc.arg(merged);

-- name: MoveRuns :exec
UPDATE runs SET incident = sqlc.arg(into_incident) WHERE incident = sqlc.arg(merged);

-- name: MoveApprovals :exec
UPDATE approvals SET incident = sqlc.arg(into_incident) WHERE incident = sqlc.arg(merged);

-- name: CopyNames :exec
INSERT INTO incident_names (name, opened, incident)
SELECT n.name, CAST(sqlc.arg(opened) AS BIGINT), CAST(sqlc.arg(into_incident) AS TEXT) FROM incident_names n WHERE n.incident = sqlc.arg(merged)
ON CONFLICT DO NOTHING;

-- name: CountIncidents :many
SELECT state, severity, COUNT(*) AS n FROM incidents GROUP BY state, severity;
