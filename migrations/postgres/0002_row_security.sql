-- What each namespace may see and write, whatever a statement forgets to ask.
--
-- Every transaction says who it is for: `tmws.namespace`, and `tmws.standing`, which is `agent`,
-- `admin` (may write memories of level system) or `operator` (the server's own work over all
-- namespaces). One that says nothing sees nothing. Agents of one namespace are told apart by
-- the program's own conditions.

-- Forced: it holds for the owner of the tables too, unless that is a superuser.
ALTER TABLE memory ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory FORCE ROW LEVEL SECURITY;
ALTER TABLE revision ENABLE ROW LEVEL SECURITY;
ALTER TABLE revision FORCE ROW LEVEL SECURITY;
ALTER TABLE memory_grant ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_grant FORCE ROW LEVEL SECURITY;
ALTER TABLE memory_access ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_access FORCE ROW LEVEL SECURITY;
ALTER TABLE memory_vector ENABLE ROW LEVEL SECURITY;
ALTER TABLE memory_vector FORCE ROW LEVEL SECURITY;
ALTER TABLE agent ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent FORCE ROW LEVEL SECURITY;

-- Settings stand in subselects: they are read once for a statement, not once for a row.
CREATE POLICY seen ON memory FOR SELECT USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (access IN ('public', 'system') AND (SELECT current_setting('tmws.namespace', true)) <> '')
    OR (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR (access <> 'private' AND EXISTS (
        SELECT 1 FROM memory_grant g WHERE g.memory = seq
        AND g.namespace = (SELECT current_setting('tmws.namespace', true)))));

CREATE POLICY added ON memory FOR INSERT WITH CHECK (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');

CREATE POLICY changed ON memory FOR UPDATE USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR (access = 'system' AND (SELECT current_setting('tmws.standing', true)) = 'admin')
    OR (access <> 'private' AND EXISTS (
        SELECT 1 FROM memory_grant g WHERE g.memory = seq AND g.permission IN ('write', 'delete')
        AND g.namespace = (SELECT current_setting('tmws.namespace', true)))));

CREATE POLICY removed ON memory FOR DELETE USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR (access = 'system' AND (SELECT current_setting('tmws.standing', true)) = 'admin')
    OR (access <> 'private' AND EXISTS (
        SELECT 1 FROM memory_grant g WHERE g.memory = seq AND g.permission = 'delete'
        AND g.namespace = (SELECT current_setting('tmws.namespace', true)))));

-- The giver's namespace and the receiver's see a grant; the giver's alone writes it.
CREATE POLICY seen ON memory_grant FOR SELECT USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR owner_namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
CREATE POLICY written ON memory_grant FOR ALL USING (
    owner_namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');

-- What hangs on a memory is seen with it. The first branch spares most rows the question.
CREATE POLICY with_memory ON memory_vector FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR EXISTS (SELECT 1 FROM memory m WHERE m.seq = memory));
CREATE POLICY with_memory ON memory_access FOR ALL USING (
    EXISTS (SELECT 1 FROM memory m WHERE m.seq = memory));
CREATE POLICY with_memory ON revision FOR ALL USING (
    EXISTS (SELECT 1 FROM memory m WHERE m.seq = memory));

CREATE POLICY of_namespace ON agent FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');

-- Row security comes before every condition that could give a row away, by an error message for
-- instance, and so keeps the index of terms from being used. Matching terms raises no error; a
-- superuser may say so. Without this a search reads every row of its scope: slower, not wrong.
DO $$
BEGIN
    ALTER FUNCTION pg_catalog.ts_match_vq(tsvector, tsquery) LEAKPROOF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'searches by words run without their index: this takes a superuser once';
END
$$;
