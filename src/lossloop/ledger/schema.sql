-- The derived state of an embedded ledger, format 1. All of it can be recomputed from the log.

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

-- Every prediction, with its outcome once that is known. `seq` is the order in which they are judged.
CREATE TABLE predictions (
    seq            INTEGER PRIMARY KEY,
    model          TEXT NOT NULL,
    id             TEXT NOT NULL,
    version        INTEGER NOT NULL,
    role           TEXT NOT NULL,
    propensity     REAL NOT NULL,      -- the chance that this arm had of being chosen
    time           INTEGER NOT NULL,   -- the event's own time
    at             INTEGER NOT NULL,   -- the clock by which it matures; never decreases with seq
    block          INTEGER NOT NULL,   -- the start of its block, in local time
    unit           TEXT,
    y_pred         NOT NULL,           -- a number, or JSON for a vector
    shadow_version INTEGER,
    shadow_y_pred,
    content        BLOB NOT NULL,      -- digest of what was sent, to tell a repeat from a conflict
    y_true         REAL,
    labelled_at    INTEGER,            -- when the outcome came, by the same clock as `at`
    UNIQUE (model, id)
);
CREATE INDEX predictions_by_age ON predictions (model, at);
CREATE INDEX predictions_by_block ON predictions (model, block);

-- Outcomes that came before their prediction.
CREATE TABLE waiting (
    model       TEXT NOT NULL,
    id          TEXT NOT NULL,
    y_true      REAL,
    labelled_at INTEGER NOT NULL,
    PRIMARY KEY (model, id)
) WITHOUT ROWID;

-- Units that the running rollout has judged: each counts once, since its later rows are not randomised again.
CREATE TABLE judged_units (
    rollout TEXT NOT NULL,
    unit    TEXT NOT NULL,
    PRIMARY KEY (rollout, unit)
) WITHOUT ROWID;
