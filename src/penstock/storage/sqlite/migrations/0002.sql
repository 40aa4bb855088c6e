-- The queue: lines whose first run is found without looking at the others, fair turns, limits in time, checkpoints.

ALTER TABLE runs RENAME COLUMN retries TO crash_retries;
ALTER TABLE runs ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN rank_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;  -- queued, but not in line before `not_before_ms`
ALTER TABLE runs ADD COLUMN call TEXT;
ALTER TABLE runs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN start_by_ms INTEGER;
ALTER TABLE runs ADD COLUMN abandon_grace_ms INTEGER;
ALTER TABLE runs ADD COLUMN abandon_at_ms INTEGER;  -- NULL while somebody watches; 0: its time is still to be set
ALTER TABLE runs ADD COLUMN cancel_reason TEXT;
ALTER TABLE runs ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN checkpoint BLOB;
ALTER TABLE runs ADD COLUMN checkpoint_seq INTEGER NOT NULL DEFAULT 0;

UPDATE runs SET rank_ms = created_at_ms, parked = state = 'queued' AND not_before_ms > 0,
                call = CASE WHEN state = 'running' THEN id END, cancel_reason = CASE WHEN cancel THEN 'cancelled' END;

DROP INDEX runs_waiting;
DROP INDEX runs_waiting_by_function;
DROP INDEX runs_running;
CREATE INDEX runs_in_line ON runs (grp, function, lane, rank_ms, number) WHERE state = 'queued' AND NOT parked;
CREATE INDEX runs_parked ON runs (not_before_ms) WHERE state = 'queued' AND parked;
CREATE INDEX runs_start_by ON runs (parked, start_by_ms) WHERE state = 'queued' AND start_by_ms IS NOT NULL;
CREATE INDEX runs_running ON runs (grp, lane, call) WHERE state = 'running';
CREATE INDEX runs_of_session ON runs (function, session) WHERE session IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX runs_stopping ON runs (id) WHERE cancel AND state = 'running';
CREATE INDEX runs_to_end ON runs (id) WHERE cancel AND state = 'queued';
CREATE INDEX runs_unwatched ON runs (abandon_at_ms)
    WHERE abandon_at_ms IS NOT NULL AND state IN ('queued', 'running');

-- The queued runs of one function and lane, as far as a claim looks at them: their first, and whose turn it is.
CREATE TABLE lines (
    id            INTEGER PRIMARY KEY,
    grp           TEXT NOT NULL,
    function      TEXT NOT NULL,
    lane          TEXT NOT NULL,
    waiting       INTEGER NOT NULL,
    head          INTEGER NOT NULL,            -- its first run's number,
    rank_ms       INTEGER NOT NULL,            -- rank,
    priority      INTEGER NOT NULL,            -- and priority
    served        INTEGER NOT NULL DEFAULT 0,
    turn          INTEGER NOT NULL,
    barred        INTEGER NOT NULL DEFAULT 0,  -- its lane has as many running as it may
    shut_until_ms INTEGER NOT NULL DEFAULT 0,  -- its rate says so,
    shut_at_ms    INTEGER NOT NULL DEFAULT 0   -- or did then: a clock that was set back is not waited for
);
CREATE UNIQUE INDEX lines_by_lane ON lines (grp, lane, function);
CREATE INDEX lines_by_turn ON lines (grp, turn, head);
CREATE INDEX lines_open ON lines (grp, function, turn, head) WHERE NOT barred AND shut_until_ms = 0;
CREATE INDEX lines_shut ON lines (shut_until_ms) WHERE shut_until_ms > 0;
CREATE INDEX lines_shut_at ON lines (shut_at_ms) WHERE shut_until_ms > 0;

-- How many of each, so that nobody has to count.
CREATE TABLE tallies (
    grp      TEXT NOT NULL,
    function TEXT NOT NULL,
    waiting  INTEGER NOT NULL DEFAULT 0,
    laned    INTEGER NOT NULL DEFAULT 0,  -- of those waiting, how many have a lane,
    ranked   INTEGER NOT NULL DEFAULT 0,  -- and how many a priority
    running  INTEGER NOT NULL DEFAULT 0,
    held     INTEGER NOT NULL DEFAULT 0,  -- calls that go on though their runs have ended
    gathers_until_ms INTEGER NOT NULL DEFAULT 0,  -- a batch that is not full waits for more
    terms    TEXT NOT NULL DEFAULT '',            -- under which the lines were last looked at
    PRIMARY KEY (grp, function)
) WITHOUT ROWID;

-- The last turn that was given to a lane of a group; see `protocol.limits.served_at`.
CREATE TABLE marks (
    grp  TEXT PRIMARY KEY,
    mark INTEGER NOT NULL
) WITHOUT ROWID;

-- Runs in line by lots of 256 numbers: a position is a sum of few rows.
CREATE TABLE lots (
    grp     TEXT NOT NULL,
    lot     INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    PRIMARY KEY (grp, lot)
) WITHOUT ROWID;

-- The last starts of functions with a rate: as many as it counts, `place` growing, each for its period.
CREATE TABLE starts (
    function TEXT NOT NULL,
    lane     TEXT NOT NULL,
    place    INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (function, lane, place)
) WITHOUT ROWID;
CREATE INDEX starts_by_end ON starts (until_ms);

-- Calls that go on though their runs have ended: they keep their place until they return.
CREATE TABLE lingering (
    run_id   TEXT PRIMARY KEY,
    grp      TEXT NOT NULL,
    function TEXT NOT NULL,
    lane     TEXT NOT NULL,
    worker   TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX lingering_in ON lingering (grp, lane);

CREATE TABLE paces (
    function TEXT PRIMARY KEY,
    runs     INTEGER NOT NULL,
    mean_ms  REAL NOT NULL,
    variance REAL NOT NULL
) WITHOUT ROWID;

-- Which process has readers of which run; only of runs that somebody must watch.
CREATE TABLE watchers (
    run_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    PRIMARY KEY (run_id, worker)
) WITHOUT ROWID;
CREATE INDEX watchers_by_worker ON watchers (worker);

-- Whatever changes a run keeps the tallies and its line: by triggers, so that no way of changing one forgets it.

CREATE TRIGGER run_submitted AFTER INSERT ON runs WHEN NEW.state = 'queued' BEGIN
    INSERT INTO tallies (grp, function, waiting, laned, ranked)
        VALUES (NEW.grp, NEW.function, 1, NEW.lane <> '', NEW.priority <> 0)
        ON CONFLICT (grp, function) DO UPDATE
        SET waiting = waiting + 1, laned = laned + excluded.laned, ranked = ranked + excluded.ranked;
    INSERT INTO joins (grp, function, lane, number, rank_ms, priority)
        SELECT NEW.grp, NEW.function, NEW.lane, NEW.number, NEW.rank_ms, NEW.priority WHERE NOT NEW.parked;
END;

CREATE TRIGGER run_changed AFTER UPDATE OF state ON runs
WHEN OLD.grp = NEW.grp AND OLD.state <> NEW.state BEGIN
    UPDATE tallies SET
        waiting = waiting + (NEW.state = 'queued') - (OLD.state = 'queued'),
        laned = laned + (NEW.lane <> '') * ((NEW.state = 'queued') - (OLD.state = 'queued')),
        ranked = ranked + (NEW.priority <> 0) * ((NEW.state = 'queued') - (OLD.state = 'queued')),
        running = running + (NEW.state = 'running') - (OLD.state = 'running')
        WHERE grp = NEW.grp AND function = NEW.function;
END;

-- Only what waits changes its group.
CREATE TRIGGER run_moved AFTER UPDATE OF grp ON runs WHEN OLD.grp <> NEW.grp AND NEW.state = 'queued' BEGIN
    UPDATE tallies SET waiting = waiting - 1, laned = laned - (OLD.lane <> ''), ranked = ranked - (OLD.priority <> 0)
        WHERE grp = OLD.grp AND function = OLD.function;
    INSERT INTO tallies (grp, function, waiting, laned, ranked)
        VALUES (NEW.grp, NEW.function, 1, NEW.lane <> '', NEW.priority <> 0)
        ON CONFLICT (grp, function) DO UPDATE
        SET waiting = waiting + 1, laned = laned + excluded.laned, ranked = ranked + excluded.ranked;
END;

CREATE TRIGGER run_left AFTER UPDATE OF state, parked, grp ON runs
WHEN OLD.state = 'queued' AND NOT OLD.parked
 AND (NEW.state <> 'queued' OR NEW.parked OR OLD.grp <> NEW.grp) BEGIN
    DELETE FROM lots WHERE grp = OLD.grp AND lot = OLD.number / 256 AND waiting = 1;
    UPDATE lots SET waiting = waiting - 1 WHERE grp = OLD.grp AND lot = OLD.number / 256;
    DELETE FROM lines WHERE grp = OLD.grp AND lane = OLD.lane AND function = OLD.function AND waiting = 1;
    UPDATE lines SET waiting = waiting - 1, (head, rank_ms, priority, turn) = (
            SELECT r.number, r.rank_ms, r.priority, max(r.rank_ms * 1000, lines.served - r.priority * 60000000)
            FROM runs AS r
            WHERE r.state = 'queued' AND NOT r.parked
              AND r.grp = OLD.grp AND r.function = OLD.function AND r.lane = OLD.lane
            ORDER BY r.rank_ms, r.number LIMIT 1)
        WHERE grp = OLD.grp AND lane = OLD.lane AND function = OLD.function;
END;

CREATE TRIGGER run_joined AFTER UPDATE OF state, parked, grp ON runs
WHEN NEW.state = 'queued' AND NOT NEW.parked
 AND (OLD.state <> 'queued' OR OLD.parked OR OLD.grp <> NEW.grp) BEGIN
    INSERT INTO joins (grp, function, lane, number, rank_ms, priority)
        VALUES (NEW.grp, NEW.function, NEW.lane, NEW.number, NEW.rank_ms, NEW.priority);
END;

-- Two ways into a line, one rule: what goes into this view stands in line.
CREATE VIEW joins AS
    SELECT '' AS grp, '' AS function, '' AS lane, 0 AS number, 0 AS rank_ms, 0 AS priority WHERE 0;

CREATE TRIGGER join_line INSTEAD OF INSERT ON joins BEGIN
    INSERT INTO lots (grp, lot, waiting) VALUES (NEW.grp, NEW.number / 256, 1)
        ON CONFLICT (grp, lot) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO lines (grp, function, lane, waiting, head, rank_ms, priority, turn)
        VALUES (NEW.grp, NEW.function, NEW.lane, 1, NEW.number, NEW.rank_ms, NEW.priority, NEW.rank_ms * 1000)
        ON CONFLICT (grp, lane, function) DO UPDATE SET waiting = waiting + 1, shut_until_ms = 0;
    UPDATE lines SET head = NEW.number, rank_ms = NEW.rank_ms, priority = NEW.priority,
            turn = max(NEW.rank_ms * 1000, served - NEW.priority * 60000000)
        WHERE grp = NEW.grp AND lane = NEW.lane AND function = NEW.function
          AND (NEW.rank_ms, NEW.number) < (rank_ms, head);
END;

-- A run that no longer runs makes room for its lane.
CREATE TRIGGER run_made_room AFTER UPDATE OF state ON runs
WHEN OLD.state = 'running' AND NEW.state <> 'running' AND NEW.lane <> '' BEGIN
    UPDATE lines SET barred = 0 WHERE grp = NEW.grp AND lane = NEW.lane AND barred;
END;

CREATE TRIGGER call_lingers AFTER INSERT ON lingering BEGIN
    UPDATE tallies SET held = held + 1 WHERE grp = NEW.grp AND function = NEW.function;
END;

CREATE TRIGGER call_returned AFTER DELETE ON lingering BEGIN
    UPDATE tallies SET held = held - 1 WHERE grp = OLD.grp AND function = OLD.function;
    UPDATE lines SET barred = 0 WHERE grp = OLD.grp AND lane = OLD.lane AND barred;
END;

-- The last reader of a run that somebody must watch has left; the time from which that counts is set later.
CREATE TRIGGER reader_left AFTER DELETE ON watchers
WHEN NOT EXISTS (SELECT 1 FROM watchers WHERE run_id = OLD.run_id) BEGIN
    UPDATE runs SET abandon_at_ms = 0
        WHERE id = OLD.run_id AND abandon_grace_ms IS NOT NULL AND state IN ('queued', 'running');
END;

INSERT INTO tallies (grp, function, waiting, running)  -- nothing has a lane yet
    SELECT grp, function, sum(state = 'queued'), sum(state = 'running') FROM runs
    WHERE state IN ('queued', 'running') GROUP BY grp, function;
INSERT INTO joins (grp, function, lane, number, rank_ms, priority)
    SELECT grp, function, lane, number, rank_ms, priority FROM runs
    WHERE state = 'queued' AND NOT parked ORDER BY number;
