-- What a search walks through knows by itself who may see it, so that a scope is read from an index
-- and nothing is joined before the best are chosen.

-- Row security binds the owner of the tables as well.
SELECT set_config('tmws.standing', 'operator', true);

-- Of the memory, as `namespace` is.
ALTER TABLE memory_vector ADD COLUMN agent TEXT COLLATE "C", ADD COLUMN access TEXT COLLATE "C";
UPDATE memory_vector v SET agent = m.agent, access = m.access FROM memory m WHERE m.seq = v.memory;
ALTER TABLE memory_vector ALTER COLUMN agent SET NOT NULL, ALTER COLUMN access SET NOT NULL;

-- Graphs have numbers of half the size from now on: the server builds them anew.
DO $$
DECLARE graph TEXT;
BEGIN
    FOR graph IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'tmws'::regnamespace
        AND c.relkind = 'i' AND c.relname LIKE 'memory\_vector\_graph\_%'
    LOOP
        EXECUTE format('DROP INDEX tmws.%I', graph);
    END LOOP;
END
$$;

-- The branches of visibility, as of `memory`.
CREATE INDEX memory_vector_owner ON memory_vector (namespace, agent, model);
CREATE INDEX memory_vector_team ON memory_vector (namespace, model, agent) WHERE access = 'team';
CREATE INDEX memory_vector_open ON memory_vector (access, model) WHERE access IN ('public', 'system');

-- The team's without one's own, which are found as such.
CREATE INDEX memory_team_agent ON memory (namespace, agent) WHERE deleted_at IS NULL AND access = 'team';

-- A scope is a word of each memory in it, so that the index of terms finds the ones and the other
-- at once and a search walks through no other namespace's memories. No term holds a control
-- character (src/store/postgres/scope_words.rs).
UPDATE memory SET terms = terms || array_to_tsvector(ARRAY[
    E'\x01o' || namespace || E'\x01' || agent,
    CASE access WHEN 'team' THEN E'\x01t' || namespace WHEN 'public' THEN E'\x01p'
        WHEN 'system' THEN E'\x01s' ELSE E'\x01o' || namespace || E'\x01' || agent END]);

-- Policies are part of the plan of every statement, nested as they ask each other: those of grants
-- were there twice wherever a memory was looked at, for reading and for writing.
DROP POLICY written ON memory_grant;
CREATE POLICY given ON memory_grant FOR INSERT WITH CHECK (
    owner_namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
CREATE POLICY changed ON memory_grant FOR UPDATE USING (
    owner_namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
CREATE POLICY taken ON memory_grant FOR DELETE USING (
    owner_namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');

-- An EXISTS may be turned into a list of all that the namespace sees, made anew for each statement.
-- A scalar subselect is asked for the rows at hand only.
DROP POLICY seen ON memory;
CREATE POLICY seen ON memory FOR SELECT USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (access IN ('public', 'system') AND (SELECT current_setting('tmws.namespace', true)) <> '')
    OR (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR (access <> 'private' AND (
        SELECT true FROM memory_grant g WHERE g.memory = seq
        AND g.namespace = (SELECT current_setting('tmws.namespace', true)) LIMIT 1)));
DROP POLICY with_memory ON memory_vector;
CREATE POLICY with_memory ON memory_vector FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (access IN ('public', 'system') AND (SELECT current_setting('tmws.namespace', true)) <> '')
    OR (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR (access <> 'private' AND (
        SELECT true FROM memory_grant g WHERE g.memory = memory_vector.memory
        AND g.namespace = (SELECT current_setting('tmws.namespace', true)) LIMIT 1)));
DROP POLICY with_memory ON memory_access;
CREATE POLICY with_memory ON memory_access FOR ALL USING (
    (SELECT true FROM memory m WHERE m.seq = memory));
DROP POLICY with_memory ON revision;
CREATE POLICY with_memory ON revision FOR ALL USING (
    (SELECT true FROM memory m WHERE m.seq = memory));
