-- By which revision a host does what it is told, as it says: rollouts and lists ask that of many hosts at a time.
ALTER TABLE member ADD COLUMN applied INTEGER;
UPDATE member SET applied = CAST(report -> 'applied' ->> 'revision' AS INTEGER);

-- Those that try a rollout first, and those that lost something by it, are few.
CREATE INDEX rollout_canary ON rollout_host (rollout) WHERE canary <> 0;
CREATE INDEX rollout_lost ON rollout_host (rollout) WHERE lost IS NOT NULL;
