-- What the logs of a host told of attempts, day by day, as it says.
CREATE TABLE evidence (
    member BIGINT NOT NULL REFERENCES member (id) ON DELETE CASCADE,
    -- As ISO 8601 writes it.
    day TEXT NOT NULL,
    -- What is known of it, as JSON.
    of_day JSON NOT NULL,
    PRIMARY KEY (member, day)
);
