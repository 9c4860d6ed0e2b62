-- name: insert_prediction
-- The first prediction with an id wins; a repeat changes nothing.
INSERT INTO predictions (model, id, version, role, propensity, time, at, block, unit, y_pred,
                         shadow_version, shadow_y_pred, content)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (model, id) DO NOTHING;

-- name: find_prediction
SELECT seq, version, role, propensity, time, at, unit, y_pred, content, y_true, labelled_at, block
FROM predictions WHERE model = ?1 AND id = ?2;

-- name: set_outcome
UPDATE predictions SET y_true = ?2, labelled_at = ?3 WHERE seq = ?1;

-- name: find_waiting
SELECT y_true, labelled_at FROM waiting WHERE model = ?1 AND id = ?2;

-- name: keep_waiting
-- Another outcome for the same id is a correction: it replaces the one that waits, known since the first.
-- The same outcome again changes nothing.
INSERT INTO waiting (model, id, y_true, labelled_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (model, id) DO UPDATE SET y_true = excluded.y_true WHERE y_true IS NOT excluded.y_true;

-- name: stop_waiting
DELETE FROM waiting WHERE model = ?1 AND id = ?2;

-- name: count_waiting
SELECT count(*) FROM waiting WHERE model = ?1;

-- name: rows_matured
-- Rows of a model behind seq ?2 whose `at` lies in [?3, ?4], in prediction order; `at` rises with seq.
SELECT seq, version, role, propensity, at, block, unit, y_pred, shadow_version, shadow_y_pred,
       y_true, labelled_at
FROM predictions WHERE model = ?1 AND at >= ?3 AND at <= ?4 AND seq > ?2 ORDER BY at, seq LIMIT ?5;

-- name: rows_of_block
SELECT seq, version, role, propensity, at, block, unit, y_pred, shadow_version, shadow_y_pred,
       y_true, labelled_at
FROM predictions WHERE model = ?1 AND block = ?2 ORDER BY seq;

-- name: first_block_after
SELECT min(block) FROM predictions WHERE model = ?1 AND block > ?2;

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM predictions;

-- name: judge_unit
-- Answers a row only for a unit that the rollout has not seen.
INSERT INTO judged_units (rollout, unit) VALUES (?1, ?2) ON CONFLICT DO NOTHING RETURNING unit;

-- name: forget_units
DELETE FROM judged_units WHERE rollout = ?1;

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

-- name: labels_of
SELECT id, y_true, at, labelled_at FROM predictions WHERE model = ?1 AND y_true IS NOT NULL;

-- name: answers_of
SELECT id, y_pred FROM predictions WHERE model = ?1;

-- name: versions_of
SELECT version, count(*) FROM predictions WHERE model = ?1 GROUP BY version;
