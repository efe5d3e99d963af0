-- The bans that hosts share: the same tables as in `../sqlite`, where their columns are explained.
ALTER TABLE fleet ADD COLUMN shares BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE fleet ADD COLUMN bans BIGINT NOT NULL DEFAULT 0;

CREATE TABLE made_ban (
    target TEXT NOT NULL,
    host BIGINT NOT NULL REFERENCES member (id),
    time BIGINT NOT NULL,
    until BIGINT NOT NULL,
    proven BOOLEAN NOT NULL,
    PRIMARY KEY (target, host)
);
CREATE INDEX made_ban_of ON made_ban (host);

CREATE TABLE shared_ban (
    target TEXT PRIMARY KEY,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    proven BOOLEAN NOT NULL,
    hosts BIGINT NOT NULL,
    host BIGINT NOT NULL REFERENCES member (id),
    why TEXT NOT NULL,
    changed BIGINT NOT NULL,
    withdrawn BIGINT
);

CREATE TABLE unshared (
    target TEXT PRIMARY KEY,
    until BIGINT NOT NULL
);

CREATE TABLE protected (
    first BYTEA NOT NULL,
    last BYTEA NOT NULL,
    host BIGINT NOT NULL REFERENCES member (id),
    PRIMARY KEY (first, last, host)
);
CREATE INDEX protected_of ON protected (host);

CREATE TABLE protection (
    host BIGINT PRIMARY KEY REFERENCES member (id),
    digest BYTEA NOT NULL,
    left_out BIGINT NOT NULL
);

CREATE TABLE ban_budget (
    host BIGINT NOT NULL REFERENCES member (id),
    hour BIGINT NOT NULL,
    said BIGINT NOT NULL DEFAULT 0,
    shared BIGINT NOT NULL DEFAULT 0,
    excess BIGINT NOT NULL DEFAULT 0,
    unfit BIGINT NOT NULL DEFAULT 0,
    protected BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (host, hour)
);
