-- name: run_columns
-- Of `runs`, in the order of RunRecord's fields: `{run}` in what follows. By name each would be searched for in its
-- row, which costs more than to read it.
id, function, grp, state, created_at_ms, input, key, session, lane, priority, call, attempt, crash_retries,
losses, failures, worker, not_before_ms, start_by_ms, abandon_grace_ms, started_at_ms, ended_at_ms, cancel,
cancel_reason, acknowledged, checkpoint, checkpoint_seq, error

-- name: read_chunks
-- Chunks past a seq, oldest first; the reader stops where its limit is reached.
SELECT c.first_seq, c.last_seq, c.data, c.final
FROM chunks AS c JOIN streams AS s ON s.id = c.stream_id
WHERE s.name = :stream AND c.last_seq > :after
ORDER BY c.last_seq;

-- name: size_of_next
-- SQLite knows the length of data without reading it.
SELECT length(c.data) FROM chunks AS c JOIN streams AS s ON s.id = c.stream_id
WHERE s.name = :stream AND c.last_seq > :after
ORDER BY c.last_seq LIMIT 1;

-- name: stream
-- A stream with its tail.
SELECT s.name, s.epoch, coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = s.id), 0), s.ended
FROM streams AS s WHERE s.name = :name;

-- name: create_stream
INSERT INTO streams (name, epoch) VALUES (:name, :epoch);

-- name: fence_of
SELECT fence FROM streams WHERE name = :name;

-- name: submit
INSERT INTO runs (id, function, grp, state, input, key, session, lane, priority, rank_ms, parked, created_at_ms,
    crash_retries, not_before_ms, start_by_ms, abandon_grace_ms, abandon_at_ms, worker)
VALUES (:id, :function, :grp, 'queued', :input, :key, :session, :lane, :priority, :rank_ms, :not_before_ms > 0,
    :created_at_ms, :crash_retries, :not_before_ms, :start_by_ms, :abandon_grace_ms,
    :created_at_ms + :abandon_grace_ms, :worker)
ON CONFLICT (function, key) WHERE key IS NOT NULL DO NOTHING;

-- name: run_by_key
SELECT {run} FROM runs WHERE function = :function AND key = :key;

-- name: run
SELECT {run} FROM runs WHERE id = :id;

-- name: number_of
SELECT number FROM runs WHERE id = :id;

-- name: searched
-- A lot of runs to be searched, newest first, as one row: how many could have been, their bytes, and their words.
WITH lot AS MATERIALIZED (
    SELECT one.number, length(r.input) + coalesce(length(r.error), 0) AS bytes
    FROM ({newest}) AS one CROSS JOIN runs AS r ON r.number = one.number
),
part AS MATERIALIZED (  -- the first in any case
    SELECT number, bytes FROM (
        SELECT number, bytes, sum(bytes) OVER (ORDER BY number DESC) - bytes AS before FROM lot)
    WHERE before < :most_bytes ORDER BY number DESC
)
SELECT (SELECT count(*) FROM lot), coalesce(sum(part.bytes), 0), json_group_array(json_array(
    r.number, r.id, r.function, r.session, r.key,
    substr(CAST(r.input AS TEXT), 1, :most_chars), substr(CAST(r.error AS TEXT), 1, :most_chars)))
FROM part CROSS JOIN runs AS r ON r.number = part.number;

-- name: tally_of
SELECT coalesce(sum(waiting), 0), coalesce(sum(running + held), 0) FROM tallies WHERE grp = :grp;

-- name: going_on
-- The session's runs of a function that have not ended and were not asked to.
SELECT id, state FROM runs
WHERE function = :function AND session = :session AND state IN ('queued', 'running') AND NOT cancel;

-- name: finish
-- Any number of runs, each from one of the states that may become its own.
UPDATE runs SET state = json_extract(e.value, '$.state'), error = json_extract(e.value, '$.error'),
    ended_at_ms = json_extract(e.value, '$.now_ms'), checkpoint = NULL
FROM json_each(:ends) AS e
WHERE runs.id = json_extract(e.value, '$.id')
  AND runs.state IN (SELECT value FROM json_each(e.value, '$.sources'));

-- name: learn_paces
-- `protocol.limits.pace_after`, where the row is.
INSERT INTO paces (function, runs, mean_ms, variance)
SELECT function, 1, ended_at_ms - started_at_ms, 0
FROM json_each(:ids) AS ended CROSS JOIN runs ON runs.id = ended.value
WHERE TRUE  -- or what follows would be read as a part of the join
ON CONFLICT (function) DO UPDATE SET
    variance = (1 - max(1.0 / (runs + 1), 0.05)) * (variance + max(1.0 / (runs + 1), 0.05)
               * (excluded.mean_ms - mean_ms) * (excluded.mean_ms - mean_ms)),
    mean_ms = mean_ms + max(1.0 / (runs + 1), 0.05) * (excluded.mean_ms - mean_ms),
    runs = runs + 1;

-- name: linger
INSERT INTO lingering (run_id, grp, function, lane, worker)
SELECT id, grp, function, lane, coalesce(worker, '') FROM runs WHERE id = :id;

-- name: returned
DELETE FROM lingering WHERE run_id = :id;

-- name: keep_checkpoint
UPDATE runs SET checkpoint = :checkpoint, checkpoint_seq = :seq WHERE id = :id;

-- name: keep_checkpoint_alone
UPDATE runs SET checkpoint = coalesce(:checkpoint, checkpoint),
    checkpoint_seq = CASE WHEN :checkpoint IS NULL THEN checkpoint_seq ELSE :seq END
WHERE id = :id AND EXISTS (
    SELECT 1 FROM streams AS s WHERE s.name = :id AND s.fence = :fence AND NOT s.ended
      AND :seq = coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = s.id), 0));

-- name: requeue
UPDATE runs SET state = 'queued', worker = NULL, call = NULL, losses = losses + :lost,
    not_before_ms = :not_before_ms, parked = :not_before_ms > 0,
    failures = failures + (:error IS NOT NULL), error = :error
WHERE id = :id AND state = 'running';

-- name: spare
UPDATE runs SET crash_retries = max(crash_retries, losses) + 1 WHERE id = :id AND state = 'running'
    AND (SELECT fence FROM streams WHERE name = :id) = :fence;

-- name: homes
-- Which functions' runs wait in which groups.
SELECT function, grp FROM tallies WHERE waiting > 0;

-- name: regroup
-- Functions may have moved to another group since their runs were queued.
UPDATE runs SET grp = :grp
WHERE state = 'queued' AND grp <> :grp AND function IN (SELECT value FROM json_each(:functions));

-- name: held
-- One row: a thousand would each cost the interpreter's lock, beside a busy event loop.
SELECT json_group_object(r.id, s.fence) FROM runs AS r JOIN streams AS s ON s.name = r.id
WHERE r.state = 'running' AND r.worker = :worker;

-- name: step_out
UPDATE runs SET parked = 1 WHERE id = :id AND state = 'queued' AND NOT parked;

-- name: step_in
UPDATE runs SET parked = 0 WHERE id = :id AND state = 'queued';

-- name: prioritize
UPDATE runs SET priority = :priority, rank_ms = :rank_ms WHERE id = :id;

-- name: tally_ranked
UPDATE tallies SET ranked = ranked + :more WHERE grp = :grp AND function = :function;

-- name: request_cancel
-- The first reason stands.
UPDATE runs SET cancel = 1, cancel_reason = :reason
WHERE id = :id AND state IN ('queued', 'running') AND NOT cancel;

-- name: acknowledge
UPDATE runs SET acknowledged = 1 WHERE id = :id AND state = 'running';

-- name: cancels
SELECT id, cancel_reason FROM runs WHERE state = 'running' AND worker = :worker AND cancel;

-- name: stopping
SELECT id, acknowledged FROM runs INDEXED BY runs_stopping WHERE cancel AND state = 'running';

-- name: overdue
-- Queued runs to be ended: they have waited too long, or were asked to stop and nobody has done it yet.
SELECT id, 'queue_timeout' FROM (
    SELECT id, start_by_ms FROM runs INDEXED BY runs_start_by
    WHERE state = 'queued' AND parked = 1 AND start_by_ms IS NOT NULL AND start_by_ms <= :now_ms
    UNION ALL
    SELECT id, start_by_ms FROM runs INDEXED BY runs_start_by
    WHERE state = 'queued' AND parked = 0 AND start_by_ms IS NOT NULL AND start_by_ms <= :now_ms
    ORDER BY start_by_ms LIMIT :limit)
UNION ALL
SELECT id, cancel_reason FROM (
    SELECT id, cancel_reason FROM runs INDEXED BY runs_to_end WHERE state = 'queued' AND cancel LIMIT :limit);

-- name: begin_absence
UPDATE runs INDEXED BY runs_unwatched SET abandon_at_ms = :now_ms + abandon_grace_ms
WHERE abandon_at_ms = 0 AND state IN ('queued', 'running');

-- name: abandoned
SELECT id FROM runs INDEXED BY runs_unwatched
WHERE abandon_at_ms BETWEEN 1 AND :now_ms AND state IN ('queued', 'running') AND NOT cancel
  AND abandon_grace_ms <= :up_ms;

-- name: watch
INSERT OR IGNORE INTO watchers (run_id, worker)
SELECT id, :worker FROM runs
WHERE id = :id AND abandon_grace_ms IS NOT NULL AND state IN ('queued', 'running');

-- name: watched
UPDATE runs SET abandon_at_ms = NULL WHERE id = :id AND abandon_grace_ms IS NOT NULL AND abandon_at_ms IS NOT NULL
  AND EXISTS (SELECT 1 FROM watchers WHERE run_id = :id);

-- name: unwatch
DELETE FROM watchers WHERE run_id = :id AND worker = :worker;

-- name: tallies
SELECT grp, function, waiting, running, held, CASE WHEN running < 2 THEN running ELSE (
    SELECT count(DISTINCT call) FROM runs INDEXED BY runs_running
    WHERE state = 'running' AND grp = t.grp AND function = t.function) END
FROM tallies AS t;

-- name: paces
SELECT function, runs, mean_ms, variance FROM paces;

-- name: sign
INSERT INTO workers (id, expires_at_ms) VALUES (:worker, :expires_at_ms)
ON CONFLICT (id) DO UPDATE SET expires_at_ms = excluded.expires_at_ms;

-- name: forget_worker
DELETE FROM workers WHERE id = :worker;

-- name: forget_calls
DELETE FROM lingering WHERE worker = :worker;

-- name: forget_readers
DELETE FROM watchers WHERE worker = :worker;

-- name: workers
-- Signed workers, and holders of runs that never signed.
SELECT id, expires_at_ms FROM workers
UNION ALL
SELECT worker, 0 FROM (
    SELECT worker FROM runs WHERE state = 'running'
    UNION SELECT worker FROM lingering
    UNION SELECT worker FROM watchers
)
WHERE worker NOT IN (SELECT id FROM workers);

-- name: expiry_of
SELECT expires_at_ms FROM workers WHERE id = :worker;

-- name: take_over
UPDATE runs SET worker = :worker WHERE state = 'running' AND worker = :lost RETURNING {run};

-- name: last_row
-- Rows are numbered in the order of appends, over all streams.
SELECT coalesce(max(rowid), 0) FROM chunks;

-- name: appended_since
-- One row, because each costs the interpreter's lock: the last number, and the streams with their last events.
SELECT max(c.row), json_group_object(s.name, c.last_seq)
FROM (
    SELECT stream_id, max(rowid) AS row, max(last_seq) AS last_seq FROM chunks NOT INDEXED
    WHERE rowid > :row GROUP BY stream_id
) AS c JOIN streams AS s ON s.id = c.stream_id;

-- name: keep
INSERT INTO kept (name, value, until_ms) VALUES (:name, :value, :until_ms)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, until_ms = excluded.until_ms;

-- name: drop_kept
DELETE FROM kept WHERE name = :name;

-- name: drop_over
DELETE FROM kept WHERE until_ms <= :now_ms;

-- name: kept
SELECT value FROM kept WHERE name = :name AND until_ms > :now_ms;
