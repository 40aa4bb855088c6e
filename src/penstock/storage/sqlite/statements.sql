-- name: read_chunks
-- Chunks past a seq, oldest first; the reader stops where its limit is reached.
SELECT c.first_seq, c.last_seq, c.data, c.final
FROM chunks AS c JOIN streams AS s ON s.id = c.stream_id
WHERE s.name = :stream AND c.last_seq > :after
ORDER BY c.last_seq;

-- name: stream
-- A stream with its tail.
SELECT s.name, s.epoch, coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = s.id), 0), s.ended
FROM streams AS s WHERE s.name = :name;

-- name: create_stream
INSERT INTO streams (name, epoch) VALUES (:name, :epoch);

-- name: raise_fence
-- A new lease on a stream: whoever held the old one can write no more.
UPDATE streams SET fence = fence + 1 WHERE name = :name RETURNING fence;

-- name: fence_of
SELECT fence FROM streams WHERE name = :name;

-- name: submit
INSERT INTO runs (id, function, grp, state, input, key, session, created_at_ms, retries, not_before_ms)
VALUES (:id, :function, :grp, 'queued', :input, :key, :session, :created_at_ms, :retries, :not_before_ms)
ON CONFLICT (function, key) WHERE key IS NOT NULL DO NOTHING;

-- name: run_by_key
SELECT * FROM runs WHERE function = :function AND key = :key;

-- name: run
SELECT * FROM runs WHERE id = :id;

-- name: number_of
SELECT number FROM runs WHERE id = :id;

-- name: waiting_before
SELECT count(*) FROM runs
WHERE state = 'queued' AND grp = :grp AND number < (SELECT number FROM runs WHERE id = :id);

-- name: running_in
SELECT count(*) FROM runs WHERE state = 'running' AND grp = :grp;

-- name: ready
-- The oldest runs of a group that this worker has the functions for.
SELECT id, number FROM runs
WHERE state = 'queued' AND grp = :grp AND not_before_ms <= :now_ms
  AND function IN (SELECT value FROM json_each(:functions))
ORDER BY number LIMIT :free;

-- name: start
UPDATE runs SET state = 'running', worker = :worker, attempt = attempt + 1, started_at_ms = :now_ms
WHERE id = :id AND state = 'queued' RETURNING *;

-- name: finish
UPDATE runs SET state = :state, error = :error, ended_at_ms = :now_ms
WHERE id = :id AND state IN (SELECT value FROM json_each(:sources));

-- name: requeue
UPDATE runs SET state = 'queued', worker = NULL, not_before_ms = :not_before_ms, losses = losses + :lost
WHERE id = :id AND state = 'running';

-- name: homes
-- Which functions' runs wait in which groups.
SELECT DISTINCT function, grp FROM runs INDEXED BY runs_waiting_by_function WHERE state = 'queued';

-- name: regroup
-- Functions may have moved to another group since their runs were queued.
UPDATE runs SET grp = :grp
WHERE state = 'queued' AND grp <> :grp AND function IN (SELECT value FROM json_each(:functions));

-- name: held
-- One row: a thousand would each cost the interpreter's lock, beside a busy event loop.
SELECT json_group_object(r.id, s.fence) FROM runs AS r JOIN streams AS s ON s.name = r.id
WHERE r.state = 'running' AND r.worker = :worker;

-- name: request_cancel
UPDATE runs SET cancel = 1 WHERE id = :id AND state IN ('queued', 'running');

-- name: cancels
SELECT id FROM runs WHERE state = 'running' AND worker = :worker AND cancel;

-- name: sign
INSERT INTO workers (id, expires_at_ms) VALUES (:worker, :expires_at_ms)
ON CONFLICT (id) DO UPDATE SET expires_at_ms = excluded.expires_at_ms;

-- name: leave
DELETE FROM workers WHERE id = :worker;

-- name: workers
-- Signed workers, and holders of runs that never signed.
SELECT id, expires_at_ms FROM workers
UNION ALL
SELECT DISTINCT worker, 0 FROM runs
WHERE state = 'running' AND worker NOT IN (SELECT id FROM workers);

-- name: expiry_of
SELECT expires_at_ms FROM workers WHERE id = :worker;

-- name: take_over
UPDATE runs SET worker = :worker WHERE state = 'running' AND worker = :lost RETURNING *;

-- name: last_row
-- Rows are numbered in the order of appends, over all streams.
SELECT coalesce(max(rowid), 0) FROM chunks;

-- name: appended_since
-- One row, because each costs the interpreter's lock: the last number, and the streams as a JSON array.
SELECT max(c.rowid), json_group_array(DISTINCT s.name)
FROM chunks AS c JOIN streams AS s ON s.id = c.stream_id WHERE c.rowid > :row;
