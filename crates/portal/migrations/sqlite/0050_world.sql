-- World data that hosts of the fleet pull, what was served before, and what waits for an approval.
CREATE TABLE world_data (
    -- SHA-256 of its bytes, in hexadecimal.
    digest TEXT PRIMARY KEY,
    content BLOB NOT NULL,
    -- What it is, as JSON.
    about TEXT NOT NULL,
    made INTEGER NOT NULL,
    -- current, previous, held; or leaving, while two of them change places.
    place TEXT NOT NULL UNIQUE,
    -- Why it is held, as JSON.
    reasons TEXT NOT NULL
) STRICT;

CREATE TABLE world (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- The digest of what somebody took back: it is not served again by itself.
    taken_back TEXT,
    -- When sources were asked last, and what came of it, as JSON.
    asked INTEGER,
    attempt TEXT,
    -- The portal that asks them, until this time.
    portal INTEGER,
    lease INTEGER NOT NULL DEFAULT 0
) STRICT;
