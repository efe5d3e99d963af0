-- The hosts of a fleet, what they are to do, and who vouches for them.
CREATE TABLE fleet (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Of the authority, in PEM.
    key TEXT NOT NULL,
    certificate TEXT NOT NULL,
    -- What every snapshot is numbered by; a revision is given once.
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    -- Where hosts connect, as the portal that runs last says.
    address TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE host_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- A change that is a whole policy, as JSON; none as long as nobody has chosen one.
    policy TEXT,
    -- Since when it is so.
    revision INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE ticket (
    -- SHA-256 of its secret.
    digest BLOB PRIMARY KEY,
    host_group INTEGER NOT NULL REFERENCES host_group (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE member (
    -- By chance: it is in a certificate, and a database that was taken back must not give it to another host.
    id INTEGER PRIMARY KEY,
    host_group INTEGER NOT NULL REFERENCES host_group (id),
    name TEXT NOT NULL,
    enrolled INTEGER NOT NULL,
    -- Seconds since 1970 at which its certificate ends.
    until INTEGER NOT NULL,
    revoked INTEGER,
    -- What it said last of itself, as JSON, and when.
    report TEXT,
    reported INTEGER
) STRICT;
CREATE INDEX member_of ON member (host_group);
