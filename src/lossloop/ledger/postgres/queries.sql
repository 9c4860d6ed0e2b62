-- What is asked of PostgreSQL, by name. The search path leads to the ledger's schema.

-- Facts.

-- name: append
-- All frames and their segments' new ends, or none. The same frames again, after an answer was lost, change
-- nothing: the first attempt, if it is still under way, is waited for.
WITH appended AS (
    INSERT INTO frames (segment, number, kind, "time", "rows", crc, model, payload)
    SELECT * FROM unnest(
        %(segment)b::text[], %(number)b::bigint[], %(kind)b::smallint[], %(time)b::bigint[],
        %(rows)b::integer[], %(crc)b::bigint[], %(model)b::text[], %(payload)b::bytea[])
    ON CONFLICT (segment, number) DO NOTHING
)
INSERT INTO segments (segment, partition, frames)
SELECT * FROM unnest(%(ended)b::text[], %(partition)b::integer[], %(end)b::bigint[])
ON CONFLICT (segment) DO UPDATE
    SET frames = excluded.frames, touched = clock_timestamp(), rests = NULL;

-- name: segments
SELECT segment, partition, frames FROM segments;

-- name: segments_awake
SELECT segment, partition, frames FROM segments WHERE rests IS NULL;

-- name: let_rest
-- Segments that all their partitions have folded, and to which nothing was added for a while.
UPDATE segments SET rests = clock_timestamp()
WHERE rests IS NULL AND touched < clock_timestamp() - %(span)s AND frames <= (
    SELECT CASE WHEN segments.partition >= 0 OR count(*) = (SELECT partitions FROM meta)
                THEN min(reached) ELSE 0 END
    FROM offsets WHERE offsets.segment = segments.segment
);

-- name: wake
-- Segments at rest that a partition has not folded after all: its derived state was deleted.
UPDATE segments SET rests = NULL
WHERE rests IS NOT NULL AND segments.partition IN (-1, %(partition)b::integer) AND frames > COALESCE((
    SELECT reached FROM offsets
    WHERE offsets.partition = %(partition)b::integer AND offsets.segment = segments.segment
), 0);

-- name: newest
-- The latest receipt time; within a segment they differ by no more than a moment.
SELECT coalesce(max(frames."time"), 0)
FROM segments JOIN frames ON frames.segment = segments.segment AND frames.number = segments.frames;

-- name: heads
-- Of each segment the first frames behind a number, without their payload.
SELECT wanted.segment, found.number, found."time", found.size
FROM unnest(%(segment)b::text[], %(after)b::bigint[]) AS wanted (segment, reached)
CROSS JOIN LATERAL (
    SELECT number, "time", octet_length(payload) AS size FROM frames
    WHERE frames.segment = wanted.segment AND frames.number > wanted.reached
    ORDER BY number LIMIT %(most)b::integer
) AS found
ORDER BY wanted.segment, found.number;

-- name: heads_before
SELECT number, octet_length(payload) FROM frames
WHERE segment = %(segment)s AND number <= %(number)b::bigint ORDER BY number DESC LIMIT %(most)b::integer;

-- name: frames
SELECT frames.segment, number, kind, "time", "rows", crc, payload
FROM unnest(%(segment)b::text[], %(low)b::bigint[], %(high)b::bigint[]) AS wanted (segment, low, high)
JOIN frames ON frames.segment = wanted.segment AND number BETWEEN wanted.low AND wanted.high;

-- A whole ledger, out and in.

-- name: moment
SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: weight
-- Bytes of all facts, about.
SELECT coalesce(sum(octet_length(payload)), 0)::bigint FROM frames;

-- name: hold_back
-- Until this transaction ends nobody else appends; everybody may read.
LOCK TABLE segments IN EXCLUSIVE MODE;

-- name: holds_anything
SELECT EXISTS (SELECT FROM segments) OR EXISTS (SELECT FROM frames) OR EXISTS (SELECT FROM offsets)
    OR EXISTS (SELECT FROM documents) OR EXISTS (SELECT FROM chunks);

-- name: give_salt
UPDATE meta SET salt = %(salt)s;

-- name: may_give_salt
SELECT has_table_privilege('meta', 'UPDATE');

-- name: take_in
COPY frames (segment, number, kind, "time", "rows", crc, model, payload) FROM STDIN (FORMAT BINARY);

-- name: took_in
INSERT INTO segments (segment, partition, frames)
SELECT * FROM unnest(%(ended)b::text[], %(partition)b::integer[], %(end)b::bigint[]);

-- Facts, as upkeep looks at them: all of them in the table's order, and what of them goes.

-- name: page
-- About so many bytes of frames behind one, and at most so many frames; one at least.
SELECT segment, number, kind, "time", "rows", crc, model, payload FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY segment, number) - octet_length(payload) AS before
    FROM (
        SELECT * FROM frames
        WHERE (segment, number) > (%(segment)b::text COLLATE "C", %(number)b::bigint)
          AND (%(models)b::text[] IS NULL OR (kind IN (1, 2, 6, 7) AND model = ANY(%(models)b::text[])))
          AND (NOT %(folded)b::boolean OR number <= (
              SELECT reached FROM segments JOIN offsets USING (segment, partition)
              WHERE segments.segment = frames.segment))
        ORDER BY segment, number LIMIT %(count)b::integer
    ) AS next
) AS sized
WHERE before < %(most)b::bigint ORDER BY segment, number;

-- name: frames_at
SELECT frames.segment, number, kind, "time", "rows", crc, model, payload
FROM unnest(%(segment)b::text[], %(number)b::bigint[]) AS wanted (segment, number)
JOIN frames USING (segment, number)
ORDER BY frames.segment, number;

-- name: commands
SELECT segment, number, kind, "time", "rows", crc, model, payload FROM frames WHERE kind = 3;

-- name: is_there
SELECT number FROM frames WHERE segment = %(segment)b::text AND number = %(number)b::bigint;

-- name: models
SELECT DISTINCT model FROM frames WHERE kind IN (1, 2, 6, 7) AND model IS NOT NULL;

-- name: beyond
-- Segments that were folded further than they go, or that are not there at all.
SELECT offsets.segment, max(reached), coalesce(max(segments.frames), 0)
FROM offsets LEFT JOIN segments ON segments.segment = offsets.segment
GROUP BY offsets.segment HAVING max(reached) > coalesce(max(segments.frames), 0) ORDER BY 1;

-- name: astray
-- Frames that no segment counts.
SELECT frames.segment, min(number), max(number), sum("rows")::bigint
FROM frames LEFT JOIN segments ON segments.segment = frames.segment
WHERE segments.segment IS NULL OR number > segments.frames
GROUP BY frames.segment ORDER BY 1;

-- name: stretches
-- What a model has, as far as it was folded, in stretches of about so many bytes; what was emptied counts too.
SELECT segment, min(number), max(number), sum("rows")::bigint, sum(size)::bigint, min("time"), max("time")
FROM (
    SELECT frames.segment, number, "rows", octet_length(payload) AS size, "time",
           sum(octet_length(payload) + %(a_frame)b::bigint)
               OVER (PARTITION BY frames.segment ORDER BY number)::bigint / %(most)b::bigint AS stretch
    FROM frames
    JOIN segments ON segments.segment = frames.segment
    JOIN offsets ON offsets.segment = segments.segment AND offsets.partition = segments.partition
    WHERE model = %(model)b::text AND kind IN (1, 2) AND number <= reached
) AS mine
GROUP BY segment, stretch;

-- name: going
-- Frames of a model in a stretch that came before a moment, or all of them.
SELECT segment, number, kind, "time", "rows", octet_length(payload)
FROM frames
WHERE segment = %(segment)b::text AND number BETWEEN %(low)b::bigint AND %(high)b::bigint
  AND model = %(model)b::text AND kind IN (1, 2)
  AND (%(before)b::bigint IS NULL OR "time" < %(before)b::bigint)
ORDER BY number;

-- name: may_remove
SELECT has_table_privilege('frames', 'DELETE') AND has_table_privilege('frames', 'UPDATE');

-- name: remove
-- Frames are thinned, and the facts that say so are appended: nothing of it where a frame is not as it was
-- read, or where a partition that is held was taken over. In one statement: the server has all of it before it
-- begins, so a process that is paused or cut off holds no lock.
WITH were AS MATERIALIZED (
    SELECT * FROM unnest(%(were_segment)b::text[], %(were_number)b::bigint[], %(were_crc)b::bigint[])
        AS were (segment, number, crc)
), found AS MATERIALIZED (
    SELECT frames.segment FROM frames JOIN were
        ON frames.segment = were.segment AND frames.number = were.number AND frames.crc = were.crc
    FOR UPDATE OF frames
), fence AS (
    UPDATE partitions SET commits = commits + 1
    FROM unnest(%(held)b::integer[], %(tokens)b::bigint[]) AS held (partition, token)
    WHERE partitions.partition = held.partition AND partitions.token = held.token
    RETURNING partitions.partition
), whole AS MATERIALIZED (
    SELECT 1 AS yes
    WHERE (SELECT count(*) FROM found) = (SELECT count(*) FROM were)
      AND (SELECT count(*) FROM fence) = cardinality(%(held)b::integer[])
), thinned AS (
    UPDATE frames SET kind = thin.kind, "rows" = thin.rows, crc = thin.crc, payload = thin.payload
    FROM whole, unnest(
        %(thin_segment)b::text[], %(thin_number)b::bigint[], %(thin_kind)b::smallint[],
        %(thin_rows)b::integer[], %(thin_crc)b::bigint[], %(thin_payload)b::bytea[]
    ) AS thin (segment, number, kind, rows, crc, payload)
    WHERE frames.segment = thin.segment AND frames.number = thin.number
), appended AS (
    INSERT INTO frames (segment, number, kind, "time", "rows", crc, model, payload)
    SELECT new.* FROM whole, unnest(
        %(segment)b::text[], %(number)b::bigint[], %(kind)b::smallint[], %(time)b::bigint[],
        %(rows)b::integer[], %(crc)b::bigint[], %(model)b::text[], %(payload)b::bytea[]) AS new
    ON CONFLICT (segment, number) DO NOTHING
), ended AS (
    INSERT INTO segments (segment, partition, frames)
    SELECT new.* FROM whole, unnest(%(ended)b::text[], %(partition)b::integer[], %(end)b::bigint[]) AS new
    ON CONFLICT (segment) DO UPDATE
    SET frames = excluded.frames, touched = clock_timestamp(), rests = NULL
)
SELECT yes FROM whole;

-- Derived state, as one partition's applier reads it.

-- name: document_of
SELECT body FROM documents
WHERE kind = %(kind)s AND key = %(key)s AND partition = %(partition)b::integer;

-- name: documents_of
SELECT key, body FROM documents
WHERE kind = %(kind)s AND key >= %(low)s AND key < %(high)s AND partition = %(partition)b::integer
ORDER BY key;

-- name: offsets_of
SELECT segment, reached FROM offsets WHERE partition = %(partition)b::integer;

-- Derived state, as everyone else reads it: all partitions as one. Of a document that several partitions
-- have, the one that its key belongs to is taken, else the one written last.

-- name: document
SELECT body FROM documents WHERE kind = %(kind)s AND key = %(key)s
ORDER BY partition = %(home)b::integer DESC, written DESC LIMIT 1;

-- name: documents
SELECT key, body, partition FROM documents
WHERE kind = %(kind)s AND key >= %(low)s AND key < %(high)s
ORDER BY key, written;

-- name: offsets
-- A segment for all partitions is folded as far as every partition has folded it.
SELECT segment, CASE WHEN segments.partition = -1 AND count(*) < (SELECT partitions FROM meta)
                     THEN 0 ELSE min(offsets.reached) END
FROM offsets LEFT JOIN segments USING (segment)
WHERE %(all)s OR segments.rests IS NULL OR segments.rests > clock_timestamp() - %(span)s
GROUP BY segment, segments.partition;

-- name: commits
SELECT sum(commits)::bigint FROM partitions;

-- name: commits_of
SELECT commits FROM partitions WHERE partition = %(partition)b::integer;

-- name: streams
SELECT DISTINCT stream FROM chunks
WHERE stream >= %(low)s AND stream < %(high)s AND partition = ANY(%(partitions)b::integer[]);

-- name: chunks
-- About so many bytes of a stream, in the order of its rows; one chunk at least.
SELECT first, body FROM (
    SELECT first, body, sum(octet_length(body)) OVER (ORDER BY first) - octet_length(body) AS before
    FROM chunks
    WHERE stream = %(stream)s AND partition = ANY(%(partitions)b::integer[]) AND first >= %(start)b::bigint
) AS behind
WHERE before < %(most)b::bigint ORDER BY first;

-- name: chunk_over
-- The chunk that a row lies in, if one does.
SELECT first, body FROM (
    SELECT first, "rows", body FROM chunks
    WHERE stream = %(stream)s AND partition = ANY(%(partitions)b::integer[]) AND first <= %(row)b::bigint
    ORDER BY first DESC LIMIT 1
) AS last WHERE first + "rows" > %(row)b::bigint;

-- name: commit
-- All of an applier's transaction, with its lease, in one statement: the server has all of it before it begins,
-- so an applier that is paused or cut off holds no lock. A newer token, and nothing of it happens; while it
-- happens, nobody can be given a newer token. The same again, after an answer was lost, changes nothing.
WITH fence AS (
    UPDATE partitions SET commits = commits + 1
    WHERE partition = %(held)b::integer AND token = %(token)b::bigint
    RETURNING partition
), put AS (
    INSERT INTO documents (kind, key, partition, body, written)
    SELECT new.kind, new.key, fence.partition, new.body, clock_timestamp()
    FROM fence, unnest(%(kinds)b::text[], %(keys)b::text[], %(bodies)b::text[]) AS new (kind, key, body)
    ON CONFLICT (kind, key, partition) DO UPDATE SET body = excluded.body, written = excluded.written
), dropped AS (
    DELETE FROM documents
    USING fence, unnest(%(gone_kinds)b::text[], %(gone_keys)b::text[]) AS gone (kind, key)
    WHERE documents.kind = gone.kind AND documents.key = gone.key AND documents.partition = fence.partition
), folded AS (
    INSERT INTO offsets (partition, segment, reached)
    SELECT fence.partition, new.segment, new.reached
    FROM fence, unnest(%(segments)b::text[], %(reached)b::bigint[]) AS new (segment, reached)
    ON CONFLICT (partition, segment) DO UPDATE SET reached = excluded.reached
), cut AS (
    DELETE FROM chunks
    USING fence, unnest(%(cut)b::text[], %(lows)b::bigint[], %(highs)b::bigint[]) AS gone (stream, low, high)
    WHERE chunks.stream = gone.stream AND chunks.partition = fence.partition
      AND chunks.first >= gone.low AND chunks.first < gone.high
      AND (chunks.stream, chunks.first)
          NOT IN (SELECT * FROM unnest(%(streams)b::text[], %(firsts)b::bigint[]))
), grown AS (
    INSERT INTO chunks (stream, partition, first, "rows", body)
    SELECT new.stream, fence.partition, new.first, new.rows, new.body
    FROM fence, unnest(%(streams)b::text[], %(firsts)b::bigint[], %(counts)b::bigint[], %(data)b::bytea[])
         AS new (stream, first, rows, body)
    ON CONFLICT (stream, partition, first) DO UPDATE SET "rows" = excluded."rows", body = excluded.body
), appended AS (
    INSERT INTO frames (segment, number, kind, "time", "rows", crc, model, payload)
    SELECT new.* FROM fence, unnest(
        %(segment)b::text[], %(number)b::bigint[], %(kind)b::smallint[], %(time)b::bigint[],
        %(rows)b::integer[], %(crc)b::bigint[], %(model)b::text[], %(payload)b::bytea[]) AS new
    ON CONFLICT (segment, number) DO NOTHING
), ended AS (
    INSERT INTO segments (segment, partition, frames)
    SELECT new.* FROM fence, unnest(%(ended)b::text[], %(partition)b::integer[], %(end)b::bigint[]) AS new
    ON CONFLICT (segment) DO UPDATE
    SET frames = excluded.frames, touched = clock_timestamp(), rests = NULL
)
SELECT partition FROM fence;

-- Derived state that was made elsewhere, in one transaction: fence, clear, and commits.

-- name: fence
-- Until the transaction ends nobody is given a newer token.
UPDATE partitions SET commits = commits + 1
WHERE partition = %(held)b::integer AND token = %(token)b::bigint
RETURNING partition;

-- name: clear_documents
DELETE FROM documents WHERE partition = %(held)b::integer;

-- name: clear_offsets
DELETE FROM offsets WHERE partition = %(held)b::integer;

-- name: clear_chunks
DELETE FROM chunks WHERE partition = %(held)b::integer;

-- Leases. The database's clock is the only one that counts.

-- name: beat
INSERT INTO appliers (holder, expires) VALUES (%(holder)s, clock_timestamp() + %(span)s)
ON CONFLICT (holder) DO UPDATE SET expires = excluded.expires;

-- name: bury
DELETE FROM appliers WHERE expires < clock_timestamp() - %(span)s;

-- name: alive
SELECT holder FROM appliers WHERE expires > clock_timestamp() ORDER BY holder;

-- name: renew
UPDATE partitions SET expires = clock_timestamp() + %(span)s
WHERE holder = %(holder)s
RETURNING partition, token;

-- name: take
-- Free or expired partitions. Just after the database was started nobody could renew: all wait for a while.
UPDATE partitions SET holder = %(holder)s, token = token + 1, expires = clock_timestamp() + %(span)s
WHERE partition = ANY(ARRAY(
    SELECT partition FROM partitions
    WHERE holder IS NULL
       OR (expires < clock_timestamp() AND pg_postmaster_start_time() < clock_timestamp() - %(span)s)
    ORDER BY partition LIMIT %(most)b::integer FOR UPDATE SKIP LOCKED
))
RETURNING partition, token;

-- name: give_back
UPDATE partitions SET holder = NULL, expires = '-infinity'
WHERE partition = %(partition)b::integer AND token = %(token)b::bigint;

-- name: leave
DELETE FROM appliers WHERE holder = %(holder)s;

-- name: holders
SELECT partition, holder FROM partitions WHERE holder IS NOT NULL AND expires > clock_timestamp();

-- Opening.

-- name: meta
SELECT format, partitions FROM meta;

-- name: salt
SELECT salt FROM meta;

-- name: durable
-- A role, a database or a user may have switched off what an acknowledgement rests on.
SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_encoding');

-- name: take_turn
-- Taking what the session has already is fine; it is given back when the session ends.
SELECT pg_try_advisory_lock(%(number)s::bigint);
