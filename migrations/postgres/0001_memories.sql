-- Memories with their history, grants, access counts, terms and vectors, and who may see which row.
-- Times are microseconds since the Unix epoch, exact and without a time zone to get wrong.
-- It runs in the schema `tmws`, which the program has made; `tmws_app` is the role it serves with.

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

CREATE TABLE memory (
    -- Order of creation; never used again, so that a cursor cannot meet a stranger.
    seq           BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            UUID    NOT NULL UNIQUE,
    namespace     TEXT    COLLATE "C" NOT NULL,
    agent         TEXT    COLLATE "C" NOT NULL,
    access        TEXT    COLLATE "C" NOT NULL CHECK (access IN ('private', 'team', 'shared', 'public', 'system')),
    version       BIGINT  NOT NULL,
    -- The version that brought the present text: a vector belongs to a text, not to a memory.
    text_version  BIGINT  NOT NULL,
    -- What made the current version, and who; past versions stand in `revision`.
    change        TEXT    NOT NULL,
    changed_by    TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    valid_from    BIGINT,
    valid_to      BIGINT,
    expires_at    BIGINT,
    deleted_at    BIGINT,
    superseded_at BIGINT,
    supersedes    UUID,
    superseded_by UUID,
    kind          TEXT    COLLATE "C",
    tags          TEXT[]  NOT NULL,
    importance    FLOAT8  NOT NULL,
    trust         FLOAT8  NOT NULL,
    source        TEXT    COLLATE "C",
    session       UUID,
    words         INTEGER NOT NULL,
    content_bytes BIGINT  NOT NULL,
    -- What the memory is found by, as the program has analysed it; no text search configuration.
    terms         TSVECTOR NOT NULL,
    metadata      TEXT    NOT NULL,
    content       TEXT    NOT NULL
);

-- The branches of visibility, each in the order of creation.
CREATE INDEX memory_owner ON memory (namespace, agent, seq) WHERE deleted_at IS NULL;
CREATE INDEX memory_team ON memory (namespace, seq) WHERE deleted_at IS NULL AND access = 'team';
CREATE INDEX memory_open ON memory (access, seq) WHERE deleted_at IS NULL AND access IN ('public', 'system');
CREATE INDEX memory_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memory_terms ON memory USING gin (terms) WHERE deleted_at IS NULL;

-- Versions that were replaced; the current one is the row of `memory`.
CREATE TABLE revision (
    memory        BIGINT  NOT NULL REFERENCES memory ON DELETE CASCADE,
    version       BIGINT  NOT NULL,
    change        TEXT    NOT NULL,
    changed_by    TEXT    NOT NULL,
    recorded_at   BIGINT  NOT NULL,
    tags          TEXT[]  NOT NULL,
    importance    FLOAT8  NOT NULL,
    superseded_by UUID,
    content       TEXT    NOT NULL,
    PRIMARY KEY (memory, version)
);

CREATE TABLE memory_grant (
    memory          BIGINT NOT NULL REFERENCES memory ON DELETE CASCADE,
    -- Of the receiver.
    namespace       TEXT   COLLATE "C" NOT NULL,
    agent           TEXT   COLLATE "C" NOT NULL,
    permission      TEXT   NOT NULL CHECK (permission IN ('read', 'write', 'delete')),
    -- Of the memory: the policies of the two tables must not ask each other.
    owner_namespace TEXT   COLLATE "C" NOT NULL,
    PRIMARY KEY (memory, namespace, agent)
);
CREATE INDEX memory_grant_receiver ON memory_grant (namespace, agent);

-- Apart from `memory`, so that counting a read does not rewrite the row that was read.
CREATE TABLE memory_access (
    memory      BIGINT PRIMARY KEY REFERENCES memory ON DELETE CASCADE,
    count       BIGINT NOT NULL,
    -- At the time of the latest read, from which it decays.
    relevance   FLOAT8 NOT NULL,
    accessed_at BIGINT NOT NULL
);

CREATE TABLE embedding_model (
    id        INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name      TEXT    COLLATE "C" NOT NULL,
    dimension INTEGER NOT NULL,
    -- One is `active`, at most one the `target` of a switch, others were active once.
    state     TEXT    NOT NULL CHECK (state IN ('active', 'target', 'kept')),
    UNIQUE (name, dimension)
);
CREATE UNIQUE INDEX embedding_model_active ON embedding_model (state) WHERE state = 'active';

-- One table for all models: a memory's vectors go with it in one step, and one policy guards them.
-- Dimensions differ between models, so each model's graph is a partial index over a cast
-- (src/store/postgres/graph.rs). New vectors wait outside of it: adding one to a graph costs ten
-- times what storing the memory does, so the upkeep does it later.
CREATE TABLE memory_vector (
    memory    BIGINT  NOT NULL REFERENCES memory ON DELETE CASCADE,
    model     INTEGER NOT NULL REFERENCES embedding_model,
    namespace TEXT    COLLATE "C" NOT NULL,
    in_graph  BOOLEAN NOT NULL DEFAULT false,
    embedding public.vector NOT NULL,
    PRIMARY KEY (memory, model)
);
-- 384 numbers are 1.5 kB: kept beside the row, not behind a pointer, for scans that read them all.
ALTER TABLE memory_vector ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX memory_vector_waiting ON memory_vector (model, memory) WHERE NOT in_graph;

CREATE TABLE agent (
    namespace     TEXT   COLLATE "C" NOT NULL,
    agent         TEXT   COLLATE "C" NOT NULL,
    name          TEXT,
    description   TEXT,
    capabilities  TEXT[] NOT NULL,
    metadata      TEXT   NOT NULL,
    registered_at BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (namespace, agent)
);
