-- name: get_document
SELECT body FROM documents WHERE kind = ?1 AND key = ?2;

-- name: put_document
INSERT INTO documents (kind, key, body) VALUES (?1, ?2, ?3)
ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body;

-- name: drop_document
DELETE FROM documents WHERE kind = ?1 AND key = ?2;

-- name: list_documents
SELECT key, body FROM documents WHERE kind = ?1 AND key >= ?2 AND key < ?3 ORDER BY key;

-- name: get_offsets
SELECT segment, reached FROM offsets;

-- name: put_offset
INSERT INTO offsets (segment, reached) VALUES (?1, ?2)
ON CONFLICT (segment) DO UPDATE SET reached = excluded.reached;

-- name: get_chunks
SELECT first, body, file FROM chunks WHERE stream = ?1 AND first > ?2 ORDER BY first;

-- name: put_chunk
INSERT INTO chunks (stream, first, body, file) VALUES (?1, ?2, ?3, ?4);

-- name: drop_chunks
DELETE FROM chunks WHERE stream = ?1 AND first >= ?2 AND first < ?3 RETURNING file;

-- name: list_streams
SELECT DISTINCT stream FROM chunks WHERE stream >= ?1 AND stream < ?2 ORDER BY stream;

-- name: list_files
SELECT file FROM chunks WHERE file IS NOT NULL;
