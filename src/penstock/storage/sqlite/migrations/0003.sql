-- Values by name that belong to no run, each until its time is over.

CREATE TABLE kept (
    name     TEXT NOT NULL UNIQUE,
    value    BLOB NOT NULL,
    until_ms INTEGER NOT NULL
);
CREATE INDEX kept_until ON kept (until_ms);
