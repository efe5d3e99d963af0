-- The second factor: codes of RFC 6238, from a secret that the operator's device has too.
CREATE TABLE totp (
    operator INTEGER PRIMARY KEY REFERENCES operator (id) ON DELETE CASCADE,
    -- As it is: codes can't be told from a digest.
    secret BLOB NOT NULL,
    -- Since when codes are asked for; not yet without.
    since INTEGER,
    -- The step of the last code that was taken: each is taken once.
    step INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What an operator shows instead when the device is lost, each once.
CREATE TABLE recovery_code (
    operator INTEGER NOT NULL REFERENCES totp (operator) ON DELETE CASCADE,
    -- SHA-256.
    digest BLOB NOT NULL,
    PRIMARY KEY (operator, digest)
) STRICT, WITHOUT ROWID;

-- When whoever has the session last showed a password, and a code where one is asked for.
ALTER TABLE session ADD COLUMN proved INTEGER NOT NULL DEFAULT 0;
DROP VIEW begun;
CREATE VIEW begun AS
SELECT session.*, operator.name, operator.role
FROM session JOIN operator ON operator.id = session.operator;
