-- The policies that were in force at hosts: see `store/history.rs`. Times are milliseconds since 1970.
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL,
    generation INTEGER NOT NULL,
    stance TEXT NOT NULL CHECK (stance IN ('observe', 'enforce')),
    -- A JSON document.
    policy TEXT NOT NULL,
    -- Who chose it here; nobody if it was chosen on the host itself.
    operator TEXT,
    began INTEGER NOT NULL,
    -- Since when it is more than a trial.
    kept INTEGER,
    ended INTEGER,
    ending TEXT CHECK (ending IN ('went-back', 'replaced', 'off')),
    -- The one that stood when it began.
    former INTEGER
) STRICT;

CREATE INDEX history_by_host ON history (host, id);

-- A policy with the one that stood when it began.
CREATE VIEW past AS
SELECT history.*, former.stance AS former_stance, former.policy AS former_policy
FROM history LEFT JOIN history AS former ON former.id = history.former;

-- What operators are choosing for a host, and have not applied.
CREATE TABLE draft (
    host TEXT PRIMARY KEY,
    operator TEXT NOT NULL,
    time INTEGER NOT NULL,
    -- A JSON document.
    choice TEXT NOT NULL
) STRICT;

-- Choices that have a name.
CREATE TABLE profile (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    operator TEXT NOT NULL,
    time INTEGER NOT NULL,
    -- A JSON document.
    choice TEXT NOT NULL
) STRICT;
