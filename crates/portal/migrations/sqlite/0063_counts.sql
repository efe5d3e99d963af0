-- Whom a host's PBX served when it last said so, as JSON, and when that was: one whose agent is being restarted does not know it.
ALTER TABLE member ADD COLUMN served TEXT;
ALTER TABLE member ADD COLUMN served_at INTEGER;
UPDATE member SET served = report -> 'served', served_at = reported WHERE report -> 'served' IS NOT NULL;
-- Whether that was said before the host's agent was started, when a rollout began.
ALTER TABLE rollout_host ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;

-- How many hosts a rollout watches, how many of them try it first, and how many lost something: counted once.
ALTER TABLE rollout ADD COLUMN hosts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN canaries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
UPDATE rollout SET
    hosts = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id),
    canaries = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id AND canary <> 0),
    lost = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id AND its.lost IS NOT NULL);
