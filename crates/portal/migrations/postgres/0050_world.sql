-- World data that hosts of the fleet pull, what was served before, and what waits for an approval.
CREATE TABLE world_data (
    -- SHA-256 of its bytes, in hexadecimal.
    digest TEXT PRIMARY KEY,
    content BYTEA NOT NULL,
    about JSON NOT NULL,
    made BIGINT NOT NULL,
    -- current, previous, held; or leaving, while two of them change places.
    place TEXT NOT NULL UNIQUE,
    -- Why it is held.
    reasons JSON NOT NULL
);
-- It is compressed already.
ALTER TABLE world_data ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE world (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- The digest of what somebody took back: it is not served again by itself.
    taken_back TEXT,
    -- When sources were asked last, and what came of it.
    asked BIGINT,
    attempt JSON,
    -- The portal that asks them, until this time.
    portal BIGINT,
    lease BIGINT NOT NULL DEFAULT 0
);
