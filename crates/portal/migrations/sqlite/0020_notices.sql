-- Whom to tell of something, and what came of telling them.
CREATE TABLE recipient (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- JSON documents; the target holds secrets of others.
    target TEXT NOT NULL,
    wants TEXT NOT NULL
) STRICT;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Why it was not delivered.
    error TEXT
) STRICT;
