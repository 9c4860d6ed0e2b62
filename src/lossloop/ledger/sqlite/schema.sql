-- The derived state of an embedded ledger, format 2. All of it can be recomputed from the log.
-- Every `crc` is of the row's other values: see sums.py.

-- How far each segment of the log has been folded.
CREATE TABLE offsets (
    segment TEXT PRIMARY KEY,
    reached INTEGER NOT NULL,
    crc     INTEGER NOT NULL
) WITHOUT ROWID;

-- Small things by kind and key, as JSON: policies, versions, aliases, rollouts, judges, decisions, ...
CREATE TABLE documents (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    crc  INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- Consecutive rows of a stream of columns: an Arrow IPC stream here, or the name of an Arrow file beside;
-- `content` is the checksum of either.
CREATE TABLE chunks (
    stream  TEXT NOT NULL,
    first   INTEGER NOT NULL,
    file    TEXT,
    content INTEGER NOT NULL,
    crc     INTEGER NOT NULL,
    body    BLOB,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;

-- How many rows each table has, and the sum of their checksums.
CREATE TABLE sums (
    name  TEXT PRIMARY KEY,
    rows  INTEGER NOT NULL,
    total INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO sums VALUES ('offsets', 0, 0), ('documents', 0, 0), ('chunks', 0, 0);

CREATE TRIGGER offsets_insert AFTER INSERT ON offsets BEGIN
    UPDATE sums SET rows = rows + 1, total = total + new.crc WHERE name = 'offsets';
END;
CREATE TRIGGER offsets_update AFTER UPDATE ON offsets BEGIN
    UPDATE sums SET total = total + new.crc - old.crc WHERE name = 'offsets';
END;
CREATE TRIGGER offsets_delete AFTER DELETE ON offsets BEGIN
    UPDATE sums SET rows = rows - 1, total = total - old.crc WHERE name = 'offsets';
END;
CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
    UPDATE sums SET rows = rows + 1, total = total + new.crc WHERE name = 'documents';
END;
CREATE TRIGGER documents_update AFTER UPDATE ON documents BEGIN
    UPDATE sums SET total = total + new.crc - old.crc WHERE name = 'documents';
END;
CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
    UPDATE sums SET rows = rows - 1, total = total - old.crc WHERE name = 'documents';
END;
CREATE TRIGGER chunks_insert AFTER INSERT ON chunks BEGIN
    UPDATE sums SET rows = rows + 1, total = total + new.crc WHERE name = 'chunks';
END;
CREATE TRIGGER chunks_update AFTER UPDATE ON chunks BEGIN
    UPDATE sums SET total = total + new.crc - old.crc WHERE name = 'chunks';
END;
CREATE TRIGGER chunks_delete AFTER DELETE ON chunks BEGIN
    UPDATE sums SET rows = rows - 1, total = total - old.crc WHERE name = 'chunks';
END;
