-- What calls under an idempotency key have led to, so that repeating one does nothing more.
CREATE TABLE idempotency (
    -- Whose key it is.
    namespace  TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    -- Of the operation and its arguments.
    digest     TEXT    NOT NULL,
    -- What the store answered, as JSON; it was committed together with what it tells of.
    answer     TEXT,
    -- What the caller was answered, as JSON, where that cannot be made from the store's answer.
    result     TEXT,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, agent, key)
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
