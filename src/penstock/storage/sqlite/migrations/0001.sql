-- Streams of events, and the runs that write them.

CREATE TABLE streams (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    fence INTEGER NOT NULL DEFAULT 0,  -- the lease that may write; a lower one is refused
    ended INTEGER NOT NULL DEFAULT 0
);

-- One row per append, not per event: a row costs the same for one event and for twenty.
CREATE TABLE chunks (
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    last_seq  INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    final     INTEGER NOT NULL,
    data      BLOB NOT NULL
);
CREATE UNIQUE INDEX chunks_by_seq ON chunks (stream_id, last_seq);

-- The one door into `chunks`: any number of appends are one statement, and the file itself refuses a gap, a
-- repeat, a stale lease and anything after the end, whichever process asks.
-- (`_insert_together` in work.py proves the same of many streams at once: what is added here is added there.)
CREATE VIEW appends AS
    SELECT '' AS stream, 0 AS fence, 0 AS first_seq, 0 AS last_seq, 0 AS final, x'' AS data WHERE 0;

CREATE TRIGGER append INSTEAD OF INSERT ON appends BEGIN
    SELECT RAISE(ABORT, 'refused append') WHERE NOT EXISTS (
        SELECT 1 FROM streams AS s
        WHERE s.name = NEW.stream AND s.fence = NEW.fence AND NOT s.ended
          AND NEW.first_seq = 1 + coalesce((SELECT max(last_seq) FROM chunks WHERE stream_id = s.id), 0)
    );
    INSERT INTO chunks (stream_id, last_seq, first_seq, final, data)
        SELECT id, NEW.last_seq, NEW.first_seq, NEW.final, NEW.data FROM streams WHERE name = NEW.stream;
    UPDATE streams SET ended = 1 WHERE NEW.final AND name = NEW.stream;
END;

CREATE TABLE runs (
    number        INTEGER PRIMARY KEY,  -- order of submission
    id            TEXT NOT NULL UNIQUE,
    function      TEXT NOT NULL,
    grp           TEXT NOT NULL,
    state         TEXT NOT NULL,
    input         BLOB NOT NULL,
    key           TEXT,
    session       TEXT,
    attempt       INTEGER NOT NULL DEFAULT 0,
    retries       INTEGER NOT NULL DEFAULT 0,
    losses        INTEGER NOT NULL DEFAULT 0,
    worker        TEXT,
    not_before_ms INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL,
    started_at_ms INTEGER,
    ended_at_ms   INTEGER,
    cancel        INTEGER NOT NULL DEFAULT 0,
    error         BLOB
);
CREATE UNIQUE INDEX runs_by_key ON runs (function, key) WHERE key IS NOT NULL;
CREATE INDEX runs_waiting ON runs (grp, number) WHERE state = 'queued';
CREATE INDEX runs_waiting_by_function ON runs (function, grp) WHERE state = 'queued';
CREATE INDEX runs_running ON runs (grp) WHERE state = 'running';
CREATE INDEX runs_by_function ON runs (function, number);
CREATE INDEX runs_by_state ON runs (state, number);

CREATE TABLE workers (
    id            TEXT PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
