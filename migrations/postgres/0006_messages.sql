-- Messages between agents: what is to be delivered, in whose queue it waits, and what was given up.

-- Rows of messages and deliveries live for seconds: what they leave is to be cleared away soon.

-- Stored once however many it goes to; it goes with its last delivery.
CREATE TABLE message (
    id          UUID    PRIMARY KEY,
    -- Who sent it.
    namespace   TEXT    COLLATE "C" NOT NULL,
    agent       TEXT    COLLATE "C" NOT NULL,
    topic       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    sent_at     BIGINT  NOT NULL,
    -- How long it lives from when it is sent, or sent again.
    ttl         BIGINT  NOT NULL,
    -- When the last of its deliveries is over.
    expires_at  BIGINT  NOT NULL,
    correlation TEXT,
    body        TEXT    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX message_expiry ON message (expires_at);

CREATE TABLE delivery (
    key        BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message    UUID    NOT NULL,
    -- Whose it is.
    namespace  TEXT    COLLATE "C" NOT NULL,
    agent      TEXT    COLLATE "C" NOT NULL,
    -- NULL: the agent's inbox.
    session    UUID,
    priority   INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    expires_at BIGINT  NOT NULL,
    deliveries INTEGER NOT NULL,
    -- Another session has a copy: this one ends with its queue.
    copied     BOOLEAN NOT NULL DEFAULT false,
    -- It came into its queue otherwise than by a post to it.
    filled     BOOLEAN NOT NULL DEFAULT false
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- What waits in a queue, and for an agent.
CREATE INDEX delivery_queue ON delivery (namespace, agent, session);
-- What is left of a message, and what of it an agent has.
CREATE INDEX delivery_message ON delivery (message, namespace, agent);
CREATE INDEX delivery_expiry ON delivery (expires_at);

-- Which node serves the session of a queue.
CREATE TABLE queue (
    namespace TEXT COLLATE "C" NOT NULL,
    agent     TEXT COLLATE "C" NOT NULL,
    session   UUID NOT NULL,
    node      UUID NOT NULL,
    PRIMARY KEY (namespace, agent, session)
);
CREATE INDEX queue_node ON queue (node);

-- Processes that serve this store, and when they last said so.
CREATE TABLE node (
    id       UUID    PRIMARY KEY,
    seen_at  BIGINT  NOT NULL,
    -- It has sent messages that were in its memory only.
    volatile BOOLEAN NOT NULL DEFAULT false
);

-- Beside `cursor`: what the nodes share for the sake of sessions.
INSERT INTO secret
VALUES ('session', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

CREATE TABLE dead_letter (
    -- UUID v7, so in the order of their deaths.
    id         UUID    PRIMARY KEY,
    -- Whom the message did not reach.
    namespace  TEXT    COLLATE "C" NOT NULL,
    agent      TEXT    COLLATE "C" NOT NULL,
    cause      TEXT    NOT NULL CHECK (cause IN ('undeliverable', 'expired', 'terminated')),
    reason     TEXT,
    deliveries INTEGER NOT NULL,
    died_at    BIGINT  NOT NULL,
    -- The message.
    message          UUID    NOT NULL,
    sender_namespace TEXT    NOT NULL,
    sender           TEXT    NOT NULL,
    topic            TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    sent_at          BIGINT  NOT NULL,
    ttl              BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL,
    correlation      TEXT,
    body             TEXT    NOT NULL
);
CREATE INDEX dead_letter_owner ON dead_letter (namespace, agent, id);
CREATE INDEX dead_letter_age ON dead_letter (died_at);

-- Removes messages whose last deliveries have gone. Some of them may be in other namespaces, hence
-- the standing. The first statement waits for whoever is sending such a message again; the second
-- sees what they did. Two transactions that end the last two deliveries of a message at once do not
-- see each other: the upkeep removes what they leave. Plans are kept, and must not be those of
-- the empty tables that they were first made for.
CREATE FUNCTION end_messages() RETURNS trigger LANGUAGE plpgsql
    SET search_path TO tmws
    SET tmws.standing TO 'operator'
    SET enable_seqscan TO off
    SET enable_hashjoin TO off
    SET enable_mergejoin TO off
AS $$
BEGIN
    PERFORM 1 FROM message m
    WHERE m.id IN (SELECT message FROM gone)
      AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id)
    ORDER BY m.id FOR UPDATE;
    IF FOUND THEN
        DELETE FROM message m
        WHERE m.id IN (SELECT message FROM gone)
          AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_over AFTER DELETE ON delivery
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION end_messages();

ALTER TABLE message ENABLE ROW LEVEL SECURITY;
ALTER TABLE message FORCE ROW LEVEL SECURITY;
ALTER TABLE delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery FORCE ROW LEVEL SECURITY;
ALTER TABLE queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE queue FORCE ROW LEVEL SECURITY;
ALTER TABLE dead_letter ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letter FORCE ROW LEVEL SECURITY;

-- A message may go to several namespaces: each sees it as long as it waits there.
CREATE POLICY with_delivery ON message FOR ALL USING (
    (SELECT current_setting('tmws.standing', true)) = 'operator'
    OR EXISTS (SELECT 1 FROM delivery d WHERE d.message = id));
CREATE POLICY of_namespace ON delivery FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
CREATE POLICY of_namespace ON queue FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
CREATE POLICY of_namespace ON dead_letter FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
