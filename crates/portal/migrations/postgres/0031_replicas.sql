-- Portals that share the database follow each other: what hosts are to do is another thing than before when `changed` is another number.
ALTER TABLE fleet ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;
-- The number of the change by which it was revoked.
ALTER TABLE member ADD COLUMN cut BIGINT;
-- Which of them the host listens to, and when that one said last that it is there.
ALTER TABLE member ADD COLUMN portal BIGINT;
CREATE TABLE portal (
    id BIGINT PRIMARY KEY,
    seen BIGINT NOT NULL
);
