-- name: get_document
SELECT crc, body FROM documents WHERE kind = ?1 AND key = ?2;

-- name: put_document
INSERT INTO documents (kind, key, body, crc) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body, crc = excluded.crc;

-- name: drop_document
DELETE FROM documents WHERE kind = ?1 AND key = ?2;

-- name: list_documents
SELECT key, crc, body FROM documents WHERE kind = ?1 AND key >= ?2 AND key < ?3 ORDER BY key;

-- name: get_offsets
SELECT segment, reached, crc FROM offsets;

-- name: put_offset
INSERT INTO offsets (segment, reached, crc) VALUES (?1, ?2, ?3)
ON CONFLICT (segment) DO UPDATE SET reached = excluded.reached, crc = excluded.crc;

-- name: get_chunks
SELECT first, file, content, crc, body FROM chunks WHERE stream = ?1 AND first > ?2 ORDER BY first;

-- name: put_chunk
INSERT INTO chunks (stream, first, file, content, crc, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- name: drop_chunks
DELETE FROM chunks WHERE stream = ?1 AND first >= ?2 AND first < ?3 RETURNING file;

-- name: list_streams
SELECT DISTINCT stream FROM chunks WHERE stream >= ?1 AND stream < ?2 ORDER BY stream;

-- name: list_files
SELECT file FROM chunks WHERE file IS NOT NULL;

-- name: every_document
SELECT kind, key, body FROM documents ORDER BY kind, key;
