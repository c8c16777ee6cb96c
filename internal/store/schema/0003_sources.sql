-- +goose Up
-- When each source of events was last heard of. Nodes add what they took in, about once a minute.
CREATE TABLE sources_seen (
    source TEXT   NOT NULL PRIMARY KEY,
    latest BIGINT NOT NULL, -- time of the newest event
    heard  BIGINT NOT NULL, -- when a node last said so
    events BIGINT NOT NULL
);
