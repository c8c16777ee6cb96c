-- One schema for SQLite and PostgreSQL. Times are microseconds since 1970 in UTC, 0 is none. The body of a
-- row is its noun as JSON and the truth; the other columns are what rows are found by, and where a
-- statement changes a column, the column prevails over the body. Indexed texts are bounded in length.

-- +goose Up
CREATE TABLE incidents (
    id          TEXT   NOT NULL PRIMARY KEY,
    state       TEXT   NOT NULL,
    severity    BIGINT NOT NULL,
    account     TEXT   NOT NULL,
    owner       TEXT   NOT NULL,
    title       TEXT   NOT NULL, -- lower case, for searching
    first_seen  BIGINT NOT NULL,
    last_seen   BIGINT NOT NULL,
    opened      BIGINT NOT NULL,
    updated     BIGINT NOT NULL,
    merged_into TEXT   NOT NULL,
    body        TEXT   NOT NULL, -- without its entities
    entities    TEXT   NOT NULL  -- JSON
);
CREATE INDEX incidents_page ON incidents (state, opened, id, severity, account, owner, title);
CREATE INDEX incidents_account ON incidents (account, opened, id);
CREATE INDEX incidents_severity ON incidents (state, severity);
CREATE INDEX incidents_merged ON incidents (merged_into) WHERE merged_into <> '';

-- What an incident can be found by: the key of each of its entities, and its id alone.
CREATE TABLE incident_names (
    name     TEXT   NOT NULL,
    opened   BIGINT NOT NULL, -- the incident's
    incident TEXT   NOT NULL,
    PRIMARY KEY (name, opened, incident)
);
CREATE INDEX incident_names_incident ON incident_names (incident);

-- When each finding saw the entities by which findings are grouped.
CREATE TABLE finding_names (
    name       TEXT   NOT NULL,
    finding    TEXT   NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (name, finding)
);
CREATE INDEX finding_names_seen ON finding_names (name, last_seen);
CREATE INDEX finding_names_old ON finding_names (last_seen);

CREATE TABLE findings (
    id          TEXT   NOT NULL PRIMARY KEY,
    fingerprint TEXT   NOT NULL UNIQUE,
    incident    TEXT   NOT NULL, -- '' is none
    suppressed  TEXT   NOT NULL, -- id of the suppression, '' is none
    product     TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    severity    BIGINT NOT NULL,
    received    BIGINT NOT NULL,
    body        TEXT   NOT NULL
);
CREATE INDEX findings_page ON findings (received, id);
CREATE INDEX findings_incident ON findings (incident, received, id);
CREATE INDEX findings_suppressed ON findings (received, id) WHERE suppressed <> '';

CREATE TABLE events (
    key      TEXT   NOT NULL PRIMARY KEY,
    received BIGINT NOT NULL,
    kept     BIGINT NOT NULL, -- until when it stays without a finding, for correlations; 0 where a finding came first
    body     TEXT   NOT NULL,
    raw      BYTEA  NOT NULL
);
CREATE INDEX events_received ON events (received);
CREATE INDEX events_kept ON events (kept) WHERE kept > 0;

-- What correlations have seen, as long as it is of use.
CREATE TABLE observations (
    id    TEXT   NOT NULL PRIMARY KEY, -- digest of all that makes it itself
    state TEXT   NOT NULL,             -- the correlation, with its text
    grp   TEXT   NOT NULL,             -- digest of key
    key   TEXT   NOT NULL,             -- the values of group-by
    at    BIGINT NOT NULL,             -- nanoseconds since 1970
    due   BIGINT NOT NULL,             -- when its windows are to be judged, 0 for not any more
    until BIGINT NOT NULL,
    body  TEXT   NOT NULL
);
CREATE INDEX observations_group ON observations (state, grp, at);
CREATE INDEX observations_due ON observations (due) WHERE due > 0;
CREATE INDEX observations_until ON observations (until);

CREATE TABLE finding_events (
    finding TEXT NOT NULL,
    event   TEXT NOT NULL,
    PRIMARY KEY (finding, event)
);
CREATE INDEX finding_events_event ON finding_events (event);

CREATE TABLE playbook_versions (
    name TEXT  NOT NULL,
    hash TEXT  NOT NULL,
    text BYTEA NOT NULL,
    PRIMARY KEY (name, hash)
);

CREATE TABLE runs (
    id       TEXT   NOT NULL PRIMARY KEY,
    began_in TEXT   NOT NULL, -- the incident where it began, whatever that was merged into
    incident TEXT   NOT NULL,
    finding  TEXT   NOT NULL,
    playbook TEXT   NOT NULL,
    hash     TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    node     TEXT   NOT NULL, -- the last to claim it
    claimed  BIGINT NOT NULL, -- the leg it was last claimed for
    leg      BIGINT NOT NULL,
    fence    BIGINT NOT NULL,
    wake     BIGINT NOT NULL, -- 0 unless it waits or is held
    ready    BIGINT NOT NULL, -- when a node last had to do with it, 0 unless it is ready
    created  BIGINT NOT NULL,
    updated  BIGINT NOT NULL,
    body     TEXT   NOT NULL,
    UNIQUE (began_in, playbook, subject)
);
CREATE INDEX runs_page ON runs (created, id);
CREATE INDEX runs_state ON runs (state, created, id);
CREATE INDEX runs_incident ON runs (incident, created, id);
CREATE INDEX runs_playbook ON runs (playbook, created, id);
CREATE INDEX runs_ready ON runs (ready) WHERE ready > 0;
CREATE INDEX runs_wake ON runs (wake) WHERE wake > 0;

CREATE TABLE steps (
    run  TEXT   NOT NULL,
    id   TEXT   NOT NULL,
    pos  BIGINT NOT NULL,
    body TEXT   NOT NULL,
    PRIMARY KEY (run, id)
);

CREATE TABLE approvals (
    id       TEXT   NOT NULL PRIMARY KEY,
    run      TEXT   NOT NULL,
    incident TEXT   NOT NULL,
    answer   TEXT   NOT NULL,
    asked    BIGINT NOT NULL,
    body     TEXT   NOT NULL
);
CREATE INDEX approvals_page ON approvals (asked, id);
CREATE INDEX approvals_answer ON approvals (answer, asked, id);
CREATE INDEX approvals_run ON approvals (run, asked, id);
CREATE INDEX approvals_incident ON approvals (incident, asked, id);

CREATE TABLE effects (
    run      TEXT    NOT NULL,
    step     TEXT    NOT NULL,
    at       BIGINT  NOT NULL,
    playbook TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    account  TEXT    NOT NULL,
    region   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    undone   BOOLEAN NOT NULL,
    PRIMARY KEY (run, step)
);
CREATE INDEX effects_at ON effects (at, run, step);
CREATE INDEX effects_playbook ON effects (playbook, at);

CREATE TABLE letters (
    id       TEXT   NOT NULL PRIMARY KEY,
    format   TEXT   NOT NULL,
    digest   TEXT   NOT NULL, -- SHA-256 of raw
    origin   TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    raw      BYTEA  NOT NULL,
    received BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    replayed BIGINT NOT NULL,
    UNIQUE (format, digest)
);
CREATE INDEX letters_page ON letters (received, id);
CREATE INDEX letters_unread ON letters (received, id) WHERE replayed = 0;

CREATE TABLE freezes (
    id   TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE protections (
    id   TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE nodes (
    node TEXT   NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL
);

CREATE TABLE ledger_entries (
    seq      BIGINT NOT NULL PRIMARY KEY,
    kind     TEXT   NOT NULL,
    incident TEXT   NOT NULL,
    run      TEXT   NOT NULL,
    entry    TEXT   NOT NULL -- canonical JSON: the leaf data
);
CREATE INDEX ledger_entries_incident ON ledger_entries (incident, seq) WHERE incident <> '';
CREATE INDEX ledger_entries_run ON ledger_entries (run, seq) WHERE run <> '';
CREATE INDEX ledger_entries_kind ON ledger_entries (kind, seq);

CREATE TABLE ledger_hashes (
    idx  BIGINT NOT NULL PRIMARY KEY, -- as golang.org/x/mod/sumdb/tlog numbers them
    hash BYTEA  NOT NULL
);

-- One row: the head of the tree. On PostgreSQL it is what writers of all nodes wait for each other at.
CREATE TABLE ledger_head (
    id   BIGINT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    root BYTEA  NOT NULL,
    note TEXT   NOT NULL -- the head, signed; '' where no key was given
);

-- One row, written to see whether the store takes writes.
CREATE TABLE probe (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
