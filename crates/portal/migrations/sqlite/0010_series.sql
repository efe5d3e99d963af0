-- What was counted at hosts, step by step: see `store/series.rs`.
CREATE TABLE series (
    host TEXT NOT NULL,
    -- How long the step is, in seconds.
    step INTEGER NOT NULL,
    -- When it begins, in milliseconds since 1970.
    time INTEGER NOT NULL,
    -- For how many milliseconds of it the host was looked at.
    watched INTEGER NOT NULL,
    -- Packets by reason and by country; those without any are left out.
    counts BLOB NOT NULL,
    PRIMARY KEY (host, step, time)
) STRICT;
