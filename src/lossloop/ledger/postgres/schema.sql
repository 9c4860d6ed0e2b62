-- A ledger in PostgreSQL, format 1. Facts: segments and frames. All else can be recomputed from them.

CREATE TABLE meta (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    format     integer NOT NULL,
    partitions integer NOT NULL CHECK (partitions BETWEEN 1 AND 1024),
    -- What units are assigned by and ids are hashed with: all machines must do so alike.
    salt       text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    made       timestamptz NOT NULL DEFAULT now()
);

-- One segment per writer and partition: its frames become visible in their order. -1 is for all partitions.
-- One that was folded and to which nothing was added for a while rests: nobody looks at it all the time.
CREATE TABLE segments (
    segment   text COLLATE "C" PRIMARY KEY,
    partition integer NOT NULL,
    frames    bigint NOT NULL,
    touched   timestamptz NOT NULL DEFAULT clock_timestamp(),
    rests     timestamptz
) WITH (fillfactor = 50);
CREATE INDEX segments_at_rest ON segments (rests);

-- Facts: a frame is its header's fields and an Arrow IPC stream of one batch. Numbered from 1.
CREATE TABLE frames (
    segment text COLLATE "C" NOT NULL,
    number  bigint NOT NULL,
    kind    smallint NOT NULL,
    "time"  bigint NOT NULL,
    "rows"  integer NOT NULL,
    crc     bigint NOT NULL,
    model   text COLLATE "C",
    payload bytea NOT NULL,
    PRIMARY KEY (segment, number)
);
-- Arrow is fast to read because it is not compressed; neither is it compressed here.
ALTER TABLE frames ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Who folds which partition, by which token, and how often it was committed. A token is never given out twice.
CREATE TABLE partitions (
    partition integer PRIMARY KEY,
    holder    text,
    token     bigint NOT NULL DEFAULT 0,
    expires   timestamptz NOT NULL DEFAULT '-infinity',
    commits   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- Appliers that are alive: they share the partitions.
CREATE TABLE appliers (
    holder  text PRIMARY KEY,
    expires timestamptz NOT NULL
) WITH (fillfactor = 10);

-- How far each partition has folded each segment.
CREATE TABLE offsets (
    partition integer NOT NULL,
    segment   text COLLATE "C" NOT NULL,
    reached   bigint NOT NULL,
    PRIMARY KEY (partition, segment)
) WITH (fillfactor = 50);

-- Small things by kind and key, as JSON: policies, versions, aliases, rollouts, judges, decisions, ...
CREATE TABLE documents (
    kind      text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    body      text NOT NULL,
    written   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, key, partition)
) WITH (fillfactor = 70);

-- Consecutive rows of a stream of columns, as an Arrow IPC stream.
CREATE TABLE chunks (
    stream    text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    first     bigint NOT NULL,
    "rows"    bigint NOT NULL,
    body      bytea NOT NULL,
    PRIMARY KEY (stream, partition, first)
);
ALTER TABLE chunks ALTER COLUMN body SET STORAGE EXTERNAL;
