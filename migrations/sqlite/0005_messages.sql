-- Messages between agents: what is to be delivered, in whose queue it waits, and what was given up.

-- Stored once however many it goes to; it goes with its last delivery.
CREATE TABLE message (
    id          BLOB    PRIMARY KEY,
    -- Who sent it.
    namespace   TEXT    NOT NULL,
    agent       TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    sent_at     INTEGER NOT NULL,
    -- How long it lives from when it is sent, or sent again.
    ttl         INTEGER NOT NULL,
    correlation TEXT,
    body        TEXT    NOT NULL
) STRICT;

CREATE TABLE delivery (
    -- Never used again: a late settlement must not meet a stranger.
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    message    BLOB    NOT NULL,
    -- Whose it is.
    namespace  TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    -- NULL: the agent's inbox.
    session    BLOB,
    priority   INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    -- 1 if another session has a copy: this one ends with its queue.
    copied     INTEGER NOT NULL DEFAULT 0,
    -- It came into its queue otherwise than by a post to it.
    filled     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What waits in a queue, and for an agent.
CREATE INDEX delivery_queue ON delivery (namespace, agent, session);
-- What is left of a message, and what of it an agent has.
CREATE INDEX delivery_message ON delivery (message, namespace, agent);
CREATE INDEX delivery_expiry ON delivery (expires_at);

CREATE TRIGGER message_over AFTER DELETE ON delivery
WHEN NOT EXISTS (SELECT 1 FROM delivery WHERE message = old.message)
BEGIN DELETE FROM message WHERE id = old.message; END;

-- Which node serves the session of a queue.
CREATE TABLE queue (
    namespace TEXT NOT NULL,
    agent     TEXT NOT NULL,
    session   BLOB NOT NULL,
    node      BLOB NOT NULL,
    PRIMARY KEY (namespace, agent, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_node ON queue (node);

-- Processes that served this store, and when they last said so.
CREATE TABLE node (
    id       BLOB    PRIMARY KEY,
    seen_at  INTEGER NOT NULL,
    -- 1 if it has sent messages that were in its memory only.
    volatile INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Beside `cursor`: what the nodes share for the sake of sessions.
INSERT INTO secret VALUES ('session', randomblob(32));

CREATE TABLE dead_letter (
    -- UUID v7, so in the order of their deaths.
    id         BLOB    PRIMARY KEY,
    -- Whom the message did not reach.
    namespace  TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    cause      TEXT    NOT NULL CHECK (cause IN ('undeliverable', 'expired', 'terminated')),
    reason     TEXT,
    deliveries INTEGER NOT NULL,
    died_at    INTEGER NOT NULL,
    -- The message.
    message          BLOB    NOT NULL,
    sender_namespace TEXT    NOT NULL,
    sender           TEXT    NOT NULL,
    topic            TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    sent_at          INTEGER NOT NULL,
    ttl              INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    correlation      TEXT,
    body             TEXT    NOT NULL
) STRICT;

CREATE INDEX dead_letter_owner ON dead_letter (namespace, agent, id);
CREATE INDEX dead_letter_age ON dead_letter (died_at);
