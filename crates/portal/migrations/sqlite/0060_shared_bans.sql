-- The bans that hosts share: see `store/bans.rs`.
-- Whether they are shared at all, and the number of the last change of which are.
ALTER TABLE fleet ADD COLUMN shares INTEGER NOT NULL DEFAULT 1;
ALTER TABLE fleet ADD COLUMN bans INTEGER NOT NULL DEFAULT 0;

-- What hosts said in the last hour that they banned.
CREATE TABLE made_ban (
    target TEXT NOT NULL,
    host INTEGER NOT NULL REFERENCES member (id),
    -- When it said so last.
    time INTEGER NOT NULL,
    until INTEGER NOT NULL,
    proven INTEGER NOT NULL,
    PRIMARY KEY (target, host)
) STRICT;
CREATE INDEX made_ban_of ON made_ban (host);

CREATE TABLE shared_ban (
    target TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    proven INTEGER NOT NULL,
    -- How many hosts made it, and by which one it came to be shared.
    hosts INTEGER NOT NULL,
    host INTEGER NOT NULL REFERENCES member (id),
    why TEXT NOT NULL,
    -- The number of the change by which it is as it is.
    changed INTEGER NOT NULL,
    -- When it was taken back before its end.
    withdrawn INTEGER
) STRICT;

-- What operators withdrew, which is not shared again until then.
CREATE TABLE unshared (
    target TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;

-- Whom hosts protect: the first and the last address of a prefix, in an order.
CREATE TABLE protected (
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    host INTEGER NOT NULL REFERENCES member (id),
    PRIMARY KEY (first, last, host)
) STRICT;
CREATE INDEX protected_of ON protected (host);

-- That a host said whom it protects.
CREATE TABLE protection (
    host INTEGER PRIMARY KEY REFERENCES member (id),
    -- SHA-256 of it.
    digest BLOB NOT NULL,
    -- How many prefixes it has besides, which no one host can keep from all.
    left_out INTEGER NOT NULL
) STRICT;

-- How many bans of a host, hour by hour, it said, were shared, and were kept back: by what a host may have shared, by what fits, and because
-- somebody protects whom they are for.
CREATE TABLE ban_budget (
    host INTEGER NOT NULL REFERENCES member (id),
    hour INTEGER NOT NULL,
    said INTEGER NOT NULL DEFAULT 0,
    shared INTEGER NOT NULL DEFAULT 0,
    excess INTEGER NOT NULL DEFAULT 0,
    unfit INTEGER NOT NULL DEFAULT 0,
    protected INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host, hour)
) STRICT;
