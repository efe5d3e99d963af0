-- Links by which somebody abroad has an address of theirs exempted.
CREATE TABLE traveller (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of what the link says.
    digest BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    -- Who made it.
    operator TEXT NOT NULL,
    -- For how many seconds it lets in, from when it is opened first.
    seconds INTEGER NOT NULL,
    -- Until when it must be opened first.
    expires INTEGER NOT NULL,
    opened INTEGER,
    -- What is exempt now.
    target TEXT
) STRICT;
