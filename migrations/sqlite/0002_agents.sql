-- Registered agents.

CREATE TABLE agent (
    namespace     TEXT    NOT NULL,
    agent         TEXT    NOT NULL,
    name          TEXT,
    description   TEXT,
    -- Each capability is followed by a line feed and the list begins with one, as memory.tags.
    capabilities  TEXT    NOT NULL,
    metadata      TEXT    NOT NULL,
    registered_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (namespace, agent)
) STRICT;

INSERT INTO counter VALUES ('agents', 0);
CREATE TRIGGER agent_counted AFTER INSERT ON agent
BEGIN UPDATE counter SET value = value + 1 WHERE name = 'agents'; END;
