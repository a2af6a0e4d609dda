-- What calls under an idempotency key have led to, so that repeating one does nothing more.
CREATE TABLE idempotency (
    -- Whose key it is.
    namespace  TEXT   COLLATE "C" NOT NULL,
    agent      TEXT   COLLATE "C" NOT NULL,
    key        TEXT   COLLATE "C" NOT NULL,
    -- Of the operation and its arguments.
    digest     TEXT   NOT NULL,
    -- What the store answered, as JSON; it was committed together with what it tells of.
    answer     TEXT,
    -- What the caller was answered, as JSON, where that cannot be made from the store's answer.
    result     TEXT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, agent, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency FORCE ROW LEVEL SECURITY;
CREATE POLICY of_namespace ON idempotency FOR ALL USING (
    namespace = (SELECT current_setting('tmws.namespace', true))
    OR (SELECT current_setting('tmws.standing', true)) = 'operator');
