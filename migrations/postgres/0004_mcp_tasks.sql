-- Records of MCP tasks: tool calls that go on after they were answered.

CREATE TABLE mcp_task (
    id          UUID   PRIMARY KEY,
    namespace   TEXT   COLLATE "C" NOT NULL,
    agent       TEXT   COLLATE "C" NOT NULL,
    tool        TEXT   COLLATE "C" NOT NULL,
    status      TEXT   COLLATE "C" NOT NULL
        CHECK (status IN ('working', 'input_required', 'completed', 'failed', 'cancelled')),
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    -- The server that runs the task has promised to be there until then.
    lease_until BIGINT NOT NULL,
    message     TEXT,
    -- JSON objects, kept as they were written.
    inputs      TEXT,
    payload     TEXT
);

-- How many an agent has open, and which of them have lost their server.
CREATE INDEX mcp_task_open ON mcp_task (namespace, agent) WHERE status IN ('working', 'input_required');
CREATE INDEX mcp_task_lease ON mcp_task (lease_until) WHERE status IN ('working', 'input_required');
CREATE INDEX mcp_task_expiry ON mcp_task (expires_at);

ALTER TABLE mcp_task ENABLE ROW LEVEL SECURITY;
ALTER TABLE mcp_task FORCE ROW LEVEL SECURITY;
CREATE POLICY of_namespace ON mcp_task FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
