-- Settings on their way to hosts: some hosts try them first.
CREATE TABLE rollout (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    -- The group, or the whole organisation.
    host_group INTEGER REFERENCES host_group (id) ON DELETE CASCADE,
    -- Settings, as JSON, and those before.
    policy TEXT NOT NULL,
    before TEXT NOT NULL,
    operator TEXT NOT NULL,
    began INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('canary', 'all', 'done', 'halted', 'aborted')),
    -- Since when it is in that stage, without the time for which it was paused, and since when it is paused.
    since INTEGER NOT NULL,
    paused INTEGER,
    -- By which its hosts have what that stage asks of them.
    revision INTEGER NOT NULL,
    -- Milliseconds for which a stage is watched.
    hold INTEGER NOT NULL,
    -- Why it was halted.
    why TEXT
) STRICT;
-- One at a time goes on for an organisation: what comes of two could not be told apart.
CREATE UNIQUE INDEX rollout_on ON rollout (tenant) WHERE stage IN ('canary', 'all');

-- The hosts that it watches.
CREATE TABLE rollout_host (
    rollout INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
    member INTEGER NOT NULL REFERENCES member (id) ON DELETE CASCADE,
    canary INTEGER NOT NULL,
    -- What its PBX had when it began, as JSON.
    before TEXT,
    -- What became of it that halted the rollout.
    lost TEXT,
    PRIMARY KEY (rollout, member)
) STRICT;

-- What hosts are asked that would be theirs to say: whom settings would cut there.
CREATE TABLE preview (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    -- As those of a rollout.
    host_group INTEGER REFERENCES host_group (id) ON DELETE CASCADE,
    policy TEXT NOT NULL,
    began INTEGER NOT NULL
) STRICT;

CREATE TABLE preview_host (
    preview INTEGER NOT NULL REFERENCES preview (id) ON DELETE CASCADE,
    member INTEGER NOT NULL REFERENCES member (id) ON DELETE CASCADE,
    -- What it said, as JSON.
    answer TEXT,
    PRIMARY KEY (preview, member)
) STRICT;
