-- Who may work here. Migrations are only ever added: a portal of a later version brings an older database up to its own.
CREATE TABLE operator (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- A PHC string: argon2id with its parameters and salt.
    password TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- Times are milliseconds since 1970.
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- SHA-256 of what the cookie says.
    digest BLOB NOT NULL UNIQUE,
    operator INTEGER NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    -- What a request that changes something must repeat.
    csrf TEXT NOT NULL,
    source TEXT NOT NULL,
    began INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT;

-- A session with whose it is.
CREATE VIEW begun AS
SELECT session.*, operator.name, operator.role
FROM session JOIN operator ON operator.id = session.operator;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    operator TEXT NOT NULL,
    source TEXT NOT NULL,
    host TEXT,
    action TEXT NOT NULL,
    -- JSON documents.
    before TEXT,
    after TEXT
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is not changed');
END;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is not shortened');
END;
