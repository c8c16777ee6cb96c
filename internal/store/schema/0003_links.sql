-- +goose Up
-- Links by which people answer questions. What is kept of a link's token is its digest.
CREATE TABLE approval_links (
    digest   TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of the token, in hexadecimal
    approval TEXT   NOT NULL,
    expires  BIGINT NOT NULL,
    used     BIGINT NOT NULL, -- 0 until it is
    body     TEXT   NOT NULL
);
CREATE INDEX approval_links_expires ON approval_links (expires);

-- Messages about questions that can be changed once they are answered.
CREATE TABLE approval_messages (
    provider TEXT   NOT NULL,
    place    TEXT   NOT NULL, -- as the provider names it
    message  TEXT   NOT NULL,
    approval TEXT   NOT NULL,
    sent     BIGINT NOT NULL,
    PRIMARY KEY (provider, place, message)
);
CREATE INDEX approval_messages_approval ON approval_messages (approval);
CREATE INDEX approval_messages_sent ON approval_messages (sent);
