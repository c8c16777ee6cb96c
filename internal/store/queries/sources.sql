-- name: NoteSource :exec
INSERT INTO sources_seen (source, latest, heard, events) VALUES ($1, $2, $3, $4)
ON CONFLICT (source) DO UPDATE SET
    latest = CASE WHEN excluded.latest > sources_seen.latest THEN excluded.latest ELSE sources_seen.latest END,
    heard = CASE WHEN excluded.heard > sources_seen.heard THEN excluded.heard ELSE sources_seen.heard END,
    events = sources_seen.events + excluded.events;

-- name: SeenSources :many
SELECT source, latest, heard, events FROM sources_seen ORDER BY source;
