-- Organisations have groups, and those have hosts. What one does not say, the one above does: see `fleet/settings.rs`.
CREATE TABLE tenant (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- Settings, as JSON; none as long as nobody has chosen any.
    policy TEXT,
    -- Since when they are so.
    revision INTEGER NOT NULL DEFAULT 0,
    -- Seconds until its hosts go back by themselves, unless they hear that they stay so.
    within INTEGER,
    -- What its hosts and operators may do at most, as JSON.
    limits TEXT NOT NULL DEFAULT '{}',
    -- Who chooses for it: operators of the portal, or also its own.
    editing TEXT NOT NULL DEFAULT 'tenant' CHECK (editing IN ('portal', 'tenant'))
) STRICT;
INSERT INTO tenant (id, name) VALUES (1, 'Organisation');

CREATE TABLE new_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenant (id),
    name TEXT NOT NULL COLLATE NOCASE,
    -- As those of `tenant`.
    policy TEXT,
    revision INTEGER NOT NULL DEFAULT 0,
    within INTEGER,
    UNIQUE (tenant, name)
) STRICT;
INSERT INTO new_group (id, tenant, name, policy, revision) SELECT id, 1, name, policy, revision FROM host_group;

CREATE TABLE new_ticket (
    digest BLOB PRIMARY KEY,
    host_group INTEGER NOT NULL REFERENCES new_group (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT;
INSERT INTO new_ticket SELECT digest, host_group, expires FROM ticket;

CREATE TABLE new_member (
    id INTEGER PRIMARY KEY,
    host_group INTEGER NOT NULL REFERENCES new_group (id),
    name TEXT NOT NULL,
    enrolled INTEGER NOT NULL,
    until INTEGER NOT NULL,
    revoked INTEGER,
    report TEXT,
    reported INTEGER,
    cut INTEGER,
    portal INTEGER,
    -- As those of `tenant`: what is chosen for this host alone.
    policy TEXT,
    revision INTEGER NOT NULL DEFAULT 0,
    within INTEGER,
    -- The settings of its group or organisation that it tries before the others, as JSON with the level.
    trial TEXT
) STRICT;
INSERT INTO new_member (id, host_group, name, enrolled, until, revoked, report, reported, cut, portal)
SELECT id, host_group, name, enrolled, until, revoked, report, reported, cut, portal FROM member;

DROP TABLE ticket;
DROP TABLE member;
DROP TABLE host_group;
ALTER TABLE new_group RENAME TO host_group;
ALTER TABLE new_ticket RENAME TO ticket;
ALTER TABLE new_member RENAME TO member;
CREATE INDEX member_of ON member (host_group);
-- Those that are not like their group.
CREATE INDEX member_alone ON member (id) WHERE revision > 0;

-- Whose operator it is; the whole portal's if nobody's.
DROP VIEW begun;
DROP VIEW shown;
ALTER TABLE operator ADD COLUMN tenant INTEGER REFERENCES tenant (id);
CREATE VIEW begun AS
SELECT session.*, operator.name, operator.role, operator.given IS NOT NULL AS given, operator.tenant
FROM session JOIN operator ON operator.id = session.operator;
CREATE VIEW shown AS
SELECT token.id, digest, token.name, operator.name AS operator, token.role, operator.role AS most, made, expires, used, operator.tenant
FROM token JOIN operator ON operator.id = token.operator;

-- Whose profile it is; everybody's if nobody's.
CREATE TABLE new_profile (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER REFERENCES tenant (id),
    name TEXT NOT NULL COLLATE NOCASE,
    operator TEXT NOT NULL,
    time INTEGER NOT NULL,
    choice TEXT NOT NULL
) STRICT;
INSERT INTO new_profile (id, name, operator, time, choice) SELECT id, name, operator, time, choice FROM profile;
DROP TABLE profile;
ALTER TABLE new_profile RENAME TO profile;
CREATE UNIQUE INDEX profile_named ON profile (coalesce(tenant, 0), name);
