-- What is asked of many hosts at a time: as in `../sqlite`.
ALTER TABLE member ADD COLUMN applied BIGINT;
UPDATE member SET applied = CAST(report -> 'applied' ->> 'revision' AS BIGINT);

CREATE INDEX rollout_canary ON rollout_host (rollout) WHERE canary <> 0;
CREATE INDEX rollout_lost ON rollout_host (rollout) WHERE lost IS NOT NULL;
