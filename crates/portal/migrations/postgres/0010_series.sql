-- What was counted at hosts, step by step: see `store/series.rs`, which also makes the parts in time and drops them when they are over.
CREATE TABLE series (
    host TEXT NOT NULL,
    step BIGINT NOT NULL,
    time BIGINT NOT NULL,
    watched BIGINT NOT NULL,
    counts BYTEA NOT NULL,
    PRIMARY KEY (host, step, time)
) PARTITION BY LIST (step);
CREATE TABLE series_10 PARTITION OF series FOR VALUES IN (10) PARTITION BY RANGE (time);
CREATE TABLE series_60 PARTITION OF series FOR VALUES IN (60) PARTITION BY RANGE (time);
CREATE TABLE series_3600 PARTITION OF series FOR VALUES IN (3600) PARTITION BY RANGE (time);
