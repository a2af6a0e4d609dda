-- Records of MCP tasks: tool calls that go on after they were answered.

CREATE TABLE mcp_task (
    id          BLOB    PRIMARY KEY,
    namespace   TEXT    NOT NULL,
    agent       TEXT    NOT NULL,
    tool        TEXT    NOT NULL,
    status      TEXT    NOT NULL
        CHECK (status IN ('working', 'input_required', 'completed', 'failed', 'cancelled')),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- The server that runs the task has promised to be there until then.
    lease_until INTEGER NOT NULL,
    message     TEXT,
    -- JSON objects; the long columns come last.
    inputs      TEXT,
    payload     TEXT
) STRICT;

-- How many an agent has open, and which of them have lost their server.
CREATE INDEX mcp_task_open ON mcp_task (namespace, agent) WHERE status IN ('working', 'input_required');
CREATE INDEX mcp_task_lease ON mcp_task (lease_until) WHERE status IN ('working', 'input_required');
CREATE INDEX mcp_task_expiry ON mcp_task (expires_at);
