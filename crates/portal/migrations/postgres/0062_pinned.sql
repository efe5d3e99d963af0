-- As in `../sqlite`.
ALTER TABLE rollout_host ADD COLUMN pinned JSON;
