-- The derived state of an embedded ledger, format 2. All of it can be recomputed from the log.

-- How far each segment of the log has been folded.
CREATE TABLE offsets (
    segment TEXT PRIMARY KEY,
    reached INTEGER NOT NULL
) WITHOUT ROWID;

-- Small things by kind and key, as JSON: policies, versions, aliases, rollouts, judges, decisions, ...
CREATE TABLE documents (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- Consecutive rows of a stream of columns: an Arrow IPC stream here, or the name of an Arrow file beside.
CREATE TABLE chunks (
    stream TEXT NOT NULL,
    first  INTEGER NOT NULL,
    body   BLOB,
    file   TEXT,
    PRIMARY KEY (stream, first)
);
