-- When somebody else gave an operator the password, which is changed before anything else is done, and soon.
ALTER TABLE operator ADD COLUMN given INTEGER;
DROP VIEW begun;
CREATE VIEW begun AS
SELECT session.*, operator.name, operator.role, operator.given IS NOT NULL AS given
FROM session JOIN operator ON operator.id = session.operator;
