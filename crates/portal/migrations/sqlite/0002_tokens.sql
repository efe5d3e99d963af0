-- What programs show instead of a session.
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of what the program says.
    digest BLOB NOT NULL UNIQUE,
    operator INTEGER NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    made INTEGER NOT NULL,
    -- For good without.
    expires INTEGER,
    used INTEGER
) STRICT;

-- A token with whose it is, and what its operator may do.
CREATE VIEW shown AS
SELECT token.id, digest, token.name, operator.name AS operator, token.role, operator.role AS most, made, expires, used
FROM token JOIN operator ON operator.id = token.operator;
