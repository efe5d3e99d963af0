-- What a host had in the place of what is chosen when a rollout began, as JSON: it has that again if all go back.
ALTER TABLE rollout_host ADD COLUMN pinned TEXT;
