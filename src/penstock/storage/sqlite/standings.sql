-- name: standings
-- How many are to start before each: the rule of `protocol.standing`. Where nothing has a lane or a priority that is
-- the order of submission, counted by lots.
--
-- The more are asked for, the less each costs: they are put in order, and between two neighbours each run, line or
-- lot is counted once, for all that stand behind it. So a look walks what stands before the last one, once.
WITH asked AS MATERIALIZED (
    SELECT r.number, r.grp, r.function, r.lane, r.rank_ms, r.state = 'queued' AND NOT r.parked AS in_line,
        (SELECT sum(laned) + sum(ranked) = 0 FROM tallies AS t WHERE t.grp = r.grp) AS in_order
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
            FROM asked WHERE in_line AND in_order WINDOW up AS (PARTITION BY grp ORDER BY number)
        ) AS a
    )
),
rounds AS MATERIALIZED (  -- of a lane's run: how many stand before it in its own line
    SELECT number, grp, function, lane,
        sum(between_them) OVER (PARTITION BY grp, function, lane ORDER BY rank_ms, number) AS round
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
turns AS MATERIALIZED (  -- when it, or its line, may start; and the rank that a run without a lane must be below
    SELECT number, grp, round, turn, head,
        turn / 1000 + (turn > 0 AND turn % 1000 <> 0) AS rank_ms, CASE turn % 1000 WHEN 0 THEN head ELSE 0 END AS edge
    FROM (
        SELECT number, grp, 0 AS round, rank_ms * 1000 AS turn, number AS head
        FROM asked WHERE in_line AND NOT in_order AND lane = ''
        UNION ALL
        SELECT own.number, own.grp, own.round, l.turn, l.head
        FROM rounds AS own CROSS JOIN lines AS l ON l.grp = own.grp AND l.lane = own.lane AND l.function = own.function
    )
),
plain_before AS (
    SELECT number, sum(in_line_before) AS plain FROM (
        SELECT number, sum(between_them) OVER (PARTITION BY grp, function ORDER BY rank_ms, edge, number) AS in_line_before
        FROM (
            SELECT number, grp, function, rank_ms, edge,
                (SELECT count(*) FROM runs AS o INDEXED BY runs_in_line
                 WHERE o.state = 'queued' AND NOT o.parked AND o.grp = a.grp AND o.function = a.function AND o.lane = ''
                   AND (o.rank_ms, o.number) >= (a.rank_before, a.edge_before)
                   AND (o.rank_ms, o.number) < (a.rank_ms, a.edge)) AS between_them
            FROM (
                SELECT t.number, t.grp, p.function, t.rank_ms, t.edge,
                    coalesce(lag(t.rank_ms) OVER up, -9e18) AS rank_before, coalesce(lag(t.edge) OVER up, 0) AS edge_before
                FROM turns AS t CROSS JOIN lines AS p INDEXED BY lines_by_lane ON p.grp = t.grp AND p.lane = ''
                WHERE t.round = 0
                WINDOW up AS (PARTITION BY t.grp, p.function ORDER BY t.rank_ms, t.edge, t.number)
            ) AS a
        )
    ) GROUP BY number
),
laned_before AS (  -- lines with a turn in its round, which comes before its own
    SELECT number, grp, round, sum(between_them) OVER (PARTITION BY grp, least_left ORDER BY turn, head, number) AS laned
    FROM (
        SELECT number, grp, round, least_left, turn, head,
            (SELECT count(*) FROM lines AS o INDEXED BY lines_by_turn
             WHERE o.grp = a.grp AND (o.turn, o.head) >= (a.turn_before, a.head_before)
               AND (o.turn, o.head) < (a.turn, a.head) AND o.lane <> '' AND o.waiting > a.least_left) AS between_them
        FROM (
            SELECT number, grp, round, min(round, 8) AS least_left, turn, head,  -- `ROUNDS_APART`
                coalesce(lag(turn) OVER up, -9e18) AS turn_before, coalesce(lag(head) OVER up, 0) AS head_before
            FROM turns WINDOW up AS (PARTITION BY grp, min(round, 8) ORDER BY turn, head, number)
        ) AS a
    )
),
sizes AS MATERIALIZED (  -- how many lines of each length, where later rounds are asked for
    SELECT grp, waiting, count(*) AS lines FROM lines AS l INDEXED BY lines_by_lane
    WHERE grp IN (SELECT grp FROM rounds WHERE round > 0) AND lane > '' GROUP BY grp, waiting
),
later_rounds AS (
    SELECT number,
        (SELECT coalesce(sum(waiting), 0) FROM lines AS p INDEXED BY lines_by_lane WHERE p.grp = b.grp AND p.lane = '')
      + (SELECT sum(min(waiting, round) * lines) FROM sizes AS s WHERE s.grp = b.grp)
      + min(laned, (SELECT coalesce(sum(lines) FILTER (WHERE waiting > round), 0) - 1 FROM sizes AS s WHERE s.grp = b.grp))
        AS ahead
    FROM laned_before AS b WHERE round > 0
)
SELECT r.id, r.function, r.grp, r.state, r.cancel, r.acknowledged,
    CASE WHEN r.state = 'queued' AND r.parked THEN r.not_before_ms ELSE 0 END, found.ahead
FROM (
    SELECT number, sum(ahead) AS ahead FROM (
        SELECT number, ahead FROM by_number UNION ALL SELECT number, ahead FROM later_rounds
        UNION ALL SELECT number, plain FROM plain_before
        UNION ALL SELECT number, laned FROM laned_before WHERE round = 0
        UNION ALL SELECT number, 0 FROM asked WHERE NOT in_line
    ) GROUP BY number
) AS found CROSS JOIN runs AS r ON r.number = found.number;
