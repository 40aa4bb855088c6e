-- name: tallied
-- What waits, with whether any of it has a lane, and what goes on; and, as a row of nulls, whether the time of
-- anything has come.
SELECT grp, function, waiting > 0, laned > 0, running + held, terms FROM tallies
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL
WHERE EXISTS (SELECT 1 FROM runs INDEXED BY runs_parked
              WHERE state = 'queued' AND parked AND not_before_ms <= :now_ms)
   OR EXISTS (SELECT 1 FROM runs INDEXED BY runs_start_by
              WHERE state = 'queued' AND parked = 0 AND start_by_ms IS NOT NULL AND start_by_ms <= :now_ms)
   OR EXISTS (SELECT 1 FROM lines INDEXED BY lines_shut WHERE shut_until_ms > 0 AND shut_until_ms <= :now_ms)
   OR EXISTS (SELECT 1 FROM lines INDEXED BY lines_shut_at WHERE shut_until_ms > 0 AND shut_at_ms > :now_ms)
   OR EXISTS (SELECT 1 FROM tallies WHERE gathers_until_ms BETWEEN 1 AND :now_ms);

-- name: wake_parked
-- The index is named: the planner would walk all that waits.
UPDATE runs INDEXED BY runs_parked SET parked = 0
WHERE state = 'queued' AND parked AND not_before_ms <= :now_ms;

-- name: park_overdue
-- They have waited too long: they start no more, and whoever looks for them ends them.
UPDATE runs INDEXED BY runs_start_by SET parked = 1, not_before_ms = 9000000000000000
WHERE state = 'queued' AND parked = 0 AND start_by_ms IS NOT NULL AND start_by_ms <= :now_ms;

-- name: open_shut
UPDATE lines INDEXED BY lines_shut SET shut_until_ms = 0 WHERE shut_until_ms > 0 AND shut_until_ms <= :now_ms;

-- name: open_shut_ahead
-- What was shut later than now: the clock was set back. Apart, since no one index finds both.
UPDATE lines INDEXED BY lines_shut_at SET shut_until_ms = 0 WHERE shut_until_ms > 0 AND shut_at_ms > :now_ms;

-- name: gathered
UPDATE tallies SET gathers_until_ms = 0 WHERE gathers_until_ms BETWEEN 1 AND :now_ms;

-- name: agree
-- Other terms than those under which the lines were last looked at.
UPDATE tallies SET terms = :terms WHERE grp = :grp AND function = :function;

-- name: reopen
UPDATE lines SET barred = 0, shut_until_ms = 0
WHERE grp = :grp AND function = :function AND (barred OR shut_until_ms > 0);

-- name: due_at
SELECT min(at_ms) FROM (
    SELECT min(shut_until_ms) AS at_ms FROM lines INDEXED BY lines_shut WHERE shut_until_ms > 0
    UNION ALL
    SELECT min(gathers_until_ms) FROM tallies WHERE gathers_until_ms > 0 AND waiting > 0
    UNION ALL
    SELECT min(not_before_ms) FROM runs INDEXED BY runs_parked WHERE state = 'queued' AND parked
);

-- name: calls_in
-- Where there are batches: one is one call. A call may go on after its run has ended.
SELECT (SELECT count(DISTINCT call) FROM runs WHERE state = 'running' AND grp = :grp)
     + (SELECT count(*) FROM lingering WHERE grp = :grp);

-- name: running_in_lane
SELECT (SELECT count(*) FROM runs WHERE state = 'running' AND grp = :grp AND lane = :lane)
     + (SELECT count(*) FROM lingering WHERE grp = :grp AND lane = :lane);

-- name: lane_of
-- What runs, is held and waits of a lane.
SELECT (SELECT count(*) FROM runs WHERE state = 'running' AND grp = :grp AND lane = :lane)
     + (SELECT count(*) FROM lingering WHERE grp = :grp AND lane = :lane)
     + (SELECT coalesce(sum(waiting), 0) FROM lines WHERE grp = :grp AND lane = :lane);

-- name: line_of
SELECT coalesce(sum(waiting), 0) FROM lines WHERE grp = :grp AND lane = :lane AND function = :function;

-- name: next_line
SELECT id, lane, turn, head FROM lines
WHERE grp = :grp AND function = :function AND NOT barred AND shut_until_ms = 0
ORDER BY turn, head LIMIT 1;

-- name: bar
UPDATE lines SET barred = 1 WHERE id = ?;

-- name: shut
UPDATE lines SET shut_until_ms = :until_ms, shut_at_ms = :now_ms WHERE id = :id;

-- name: gather
UPDATE tallies SET gathers_until_ms = :until_ms
WHERE grp = :grp AND function = :function AND gathers_until_ms <> :until_ms;

-- name: start_before
-- The start that must be a period ago.
SELECT at_ms FROM starts
WHERE function = :function AND lane = :lane
  AND place = (SELECT max(place) FROM starts WHERE function = :function AND lane = :lane) - :count + 1;

-- name: note_start
INSERT INTO starts (function, lane, place, at_ms, until_ms)
SELECT :function, :lane, 1 + coalesce(max(place), 0), :now_ms, :now_ms + :period_ms
FROM starts WHERE function = :function AND lane = :lane;

-- name: forget_starts
DELETE FROM starts WHERE function = :function AND lane = :lane
  AND place <= (SELECT max(place) FROM starts WHERE function = :function AND lane = :lane) - :count;

-- name: forget_old_starts
-- Of whatever key: those that come once would else be kept for ever. Some at each start, so that none takes long.
DELETE FROM starts WHERE (function, lane, place) IN (
    SELECT function, lane, place FROM starts INDEXED BY starts_by_end
    WHERE until_ms < :before_ms ORDER BY until_ms LIMIT 8);

-- name: waiting_of
-- As far as it matters: no line is empty, so no more of them than a batch holds need be counted.
SELECT sum(waiting) FROM (SELECT waiting FROM lines WHERE grp = :grp AND function = :function LIMIT :size);

-- name: oldest_of
-- Asked for fewer runs than a batch holds.
SELECT min(created_at_ms) FROM runs INDEXED BY runs_in_line
WHERE state = 'queued' AND NOT parked AND grp = :grp AND function = :function;

-- name: next_mark
-- `protocol.limits.served_at`.
INSERT INTO marks (grp, mark) VALUES (:grp, :now + 1)
ON CONFLICT (grp) DO UPDATE SET mark = max(excluded.mark, mark + 1) RETURNING mark;

-- name: serve
-- The lane goes to the back, with all its lines.
UPDATE lines SET served = :mark, turn = max(rank_ms * 1000, :mark - priority * 60000000)
WHERE grp = :grp AND lane = :lane;

-- name: first_in_line
-- Plain lines need no turns: their runs start in the order of their ranks.
SELECT rank_ms, number FROM runs
WHERE state = 'queued' AND NOT parked AND grp = :grp AND function = :function AND lane = ''
ORDER BY rank_ms, number LIMIT :free;

-- name: start
UPDATE runs SET state = 'running', worker = :worker, attempt = attempt + 1, started_at_ms = :now_ms,
    call = coalesce(:call, id || '.' || (attempt + 1)), start_by_ms = NULL
WHERE number IN (SELECT value FROM json_each(:numbers)) AND state = 'queued' RETURNING {run}, number;

-- name: start_one
UPDATE runs SET state = 'running', worker = :worker, attempt = attempt + 1, started_at_ms = :now_ms,
    call = id || '.' || (attempt + 1), start_by_ms = NULL, parked = 0
WHERE id = :id AND state = 'queued' AND NOT cancel AND (start_by_ms IS NULL OR start_by_ms > :now_ms) RETURNING {run};

-- name: unkept
-- Of functions whose line is kept elsewhere: what nobody keeps. By their lines: what else waits is not looked at.
SELECT number FROM (
    SELECT r.number, r.worker, r.cancel
    FROM json_each(:functions) AS f CROSS JOIN tallies AS t ON t.function = f.value AND t.waiting > 0
    CROSS JOIN runs AS r INDEXED BY runs_in_line
        ON r.state = 'queued' AND NOT r.parked AND r.grp = t.grp AND r.function = t.function
    UNION ALL
    SELECT r.number, r.worker, r.cancel FROM runs AS r INDEXED BY runs_parked
    WHERE r.state = 'queued' AND r.parked AND r.not_before_ms <= :now_ms
      AND r.function IN (SELECT value FROM json_each(:functions)))
WHERE NOT cancel AND (worker IS NULL OR worker NOT IN (SELECT id FROM workers))
ORDER BY number LIMIT :limit;

-- name: adopt
-- Their time has come, and no claim may come by that would put them into line.
UPDATE runs SET worker = :worker, parked = 0
WHERE number IN (SELECT value FROM json_each(:numbers)) RETURNING {run}, number;

-- name: raise_fences
-- New leases on streams: whoever held the old ones can write no more.
UPDATE streams SET fence = fence + 1 WHERE name IN (SELECT value FROM json_each(:names))
RETURNING name, fence, epoch, ended, coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = streams.id), 0);
