-- name: standings
-- How many are to start before each: those submitted earlier, by lots; with priority, those of lower rank; with a
-- lane, no more than the turns that come before its own.
--
-- The more are asked for, the less each costs: they are put in order, and between two neighbours each run, line or
-- lot is counted once, for all that stand behind it. So a look walks what stands before the last one, once.
WITH asked AS MATERIALIZED (
    SELECT r.number, r.grp, r.function, r.lane, r.priority, r.rank_ms, r.state = 'queued' AND NOT r.parked AS in_line
    FROM (SELECT DISTINCT value FROM json_each(:ids)) AS given CROSS JOIN runs AS r ON r.id = given.value
    WHERE r.state IN ('queued', 'running')
),
by_number AS (
    SELECT number, sum(in_lots) OVER (PARTITION BY grp ORDER BY number)
                 + sum(in_own_lot) OVER (PARTITION BY grp, lot ORDER BY number) AS ahead
    FROM (
        SELECT number, grp, lot,
            (SELECT coalesce(sum(waiting), 0) FROM lots AS o
             WHERE o.grp = a.grp AND o.lot >= a.lot_before AND o.lot < a.lot) AS in_lots,
            (SELECT count(*) FROM runs AS o NOT INDEXED
             WHERE o.number >= max(a.number_before, a.lot * 256) AND o.number < a.number
               AND o.state = 'queued' AND NOT o.parked AND o.grp = a.grp) AS in_own_lot
        FROM (
            SELECT number, grp, number / 256 AS lot,
                coalesce(lag(number / 256) OVER up, 0) AS lot_before, coalesce(lag(number) OVER up, 0) AS number_before
            FROM asked WHERE in_line AND priority <= 0 WINDOW up AS (PARTITION BY grp ORDER BY number)
        ) AS a
    )
),
by_rank AS (
    SELECT number, sum(between_them) OVER (PARTITION BY grp ORDER BY rank_ms, number) AS ahead
    FROM (
        SELECT number, grp, rank_ms,
            (SELECT count(*) FROM runs AS o INDEXED BY runs_by_rank
             WHERE o.state = 'queued' AND NOT o.parked AND o.grp = a.grp
               AND (o.rank_ms, o.number) >= (a.rank_before, a.number_before)
               AND (o.rank_ms, o.number) < (a.rank_ms, a.number)) AS between_them
        FROM (
            SELECT number, grp, rank_ms,
                coalesce(lag(rank_ms) OVER up, -9e18) AS rank_before, coalesce(lag(number) OVER up, 0) AS number_before
            FROM asked WHERE in_line AND priority > 0 WINDOW up AS (PARTITION BY grp ORDER BY rank_ms, number)
        ) AS a
    )
),
in_line AS MATERIALIZED (  -- in its own line
    SELECT number, grp, function, lane,
        sum(between_them) OVER (PARTITION BY grp, function, lane ORDER BY rank_ms, number) AS ahead
    FROM (
        SELECT number, grp, function, lane, rank_ms,
            (SELECT count(*) FROM runs AS o INDEXED BY runs_in_line
             WHERE o.state = 'queued' AND NOT o.parked
               AND o.grp = a.grp AND o.function = a.function AND o.lane = a.lane
               AND (o.rank_ms, o.number) >= (a.rank_before, a.number_before)
               AND (o.rank_ms, o.number) < (a.rank_ms, a.number)) AS between_them
        FROM (
            SELECT number, grp, function, lane, rank_ms,
                coalesce(lag(rank_ms) OVER up, -9e18) AS rank_before, coalesce(lag(number) OVER up, 0) AS number_before
            FROM asked WHERE in_line AND lane <> ''
            WINDOW up AS (PARTITION BY grp, function, lane ORDER BY rank_ms, number)
        ) AS a
    )
),
turns AS (  -- of those lines, among the lines of the group
    SELECT grp, function, lane, sum(between_them) OVER (PARTITION BY grp ORDER BY turn, head) AS ahead
    FROM (
        SELECT grp, function, lane, turn, head,
            (SELECT count(*) FROM lines AS o INDEXED BY lines_by_turn
             WHERE o.grp = a.grp AND (o.turn, o.head) >= (a.turn_before, a.head_before)
               AND (o.turn, o.head) < (a.turn, a.head)) AS between_them
        FROM (
            SELECT l.grp, l.function, l.lane, l.turn, l.head,
                coalesce(lag(l.turn) OVER up, -9e18) AS turn_before, coalesce(lag(l.head) OVER up, 0) AS head_before
            FROM (SELECT DISTINCT grp, function, lane FROM in_line) AS i
            CROSS JOIN lines AS l ON l.grp = i.grp AND l.lane = i.lane AND l.function = i.function
            WINDOW up AS (PARTITION BY l.grp ORDER BY l.turn, l.head)
        ) AS a
    )
),
crowds AS MATERIALIZED (
    SELECT grp, (SELECT count(*) FROM lines AS l WHERE l.grp = g.grp) AS lines
    FROM (SELECT DISTINCT grp FROM in_line) AS g
),
by_turn AS (
    SELECT number, i.ahead * lines + t.ahead AS ahead
    FROM in_line AS i JOIN turns AS t USING (grp, function, lane) JOIN crowds USING (grp)
)
SELECT r.id, r.function, r.grp, r.state, r.cancel, r.acknowledged,
    CASE WHEN r.state = 'queued' AND r.parked THEN r.not_before_ms ELSE 0 END, found.ahead
FROM (
    SELECT number, min(ahead) AS ahead FROM (
        SELECT number, ahead FROM by_number UNION ALL SELECT number, ahead FROM by_rank
        UNION ALL SELECT number, ahead FROM by_turn UNION ALL SELECT number, 0 FROM asked WHERE NOT in_line
    ) GROUP BY number
) AS found CROSS JOIN runs AS r ON r.number = found.number;
