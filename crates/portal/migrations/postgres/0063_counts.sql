-- As in `../sqlite`.
ALTER TABLE member ADD COLUMN served JSON;
ALTER TABLE member ADD COLUMN served_at BIGINT;
UPDATE member SET served = report -> 'served', served_at = reported WHERE report -> 'served' IS NOT NULL;
ALTER TABLE rollout_host ADD COLUMN stale BIGINT NOT NULL DEFAULT 0;

ALTER TABLE rollout ADD COLUMN hosts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN canaries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN lost BIGINT NOT NULL DEFAULT 0;
UPDATE rollout SET
    hosts = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id),
    canaries = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id AND canary <> 0),
    lost = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id AND its.lost IS NOT NULL);
