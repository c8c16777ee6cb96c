-- +goose Up
-- How far what follows the ledger has come. One node at a time hands a follower's entries on.
CREATE TABLE cursors (
    name   TEXT   NOT NULL PRIMARY KEY,
    seq    BIGINT NOT NULL, -- of the first entry that is not handed on
    holder TEXT   NOT NULL, -- the node that hands on, '' if none does
    until  BIGINT NOT NULL, -- how long no other may
    moved  BIGINT NOT NULL, -- when an entry was last handed on
    since  BIGINT NOT NULL, -- since when the entry at seq fails, 0 if it doesn't
    error  TEXT   NOT NULL  -- why it fails
);
