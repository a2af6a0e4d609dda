-- What migrations 1 to 3 come to, for a database that has nothing to migrate: no text index that the next
-- migration drops, no columns that move. A test compares the two; what follows is applied to either.
-- Times are microseconds since the Unix epoch, ids are the 16 bytes of a UUID.

CREATE TABLE memory (
    -- Order of creation; never used again, so that a cursor cannot meet a stranger.
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            BLOB    NOT NULL UNIQUE,
    namespace     TEXT    NOT NULL,
    agent         TEXT    NOT NULL,
    access        TEXT    NOT NULL CHECK (access IN ('private', 'team', 'shared', 'public', 'system')),
    version       INTEGER NOT NULL,
    -- What made the current version, and who; past versions stand in `revision`.
    change        TEXT    NOT NULL,
    changed_by    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    valid_from    INTEGER,
    valid_to      INTEGER,
    expires_at    INTEGER,
    deleted_at    INTEGER,
    superseded_at INTEGER,
    supersedes    BLOB,
    superseded_by BLOB,
    kind          TEXT,
    -- Each tag is followed by a line feed and the list begins with one: '' or '\na\nb\n'.
    tags          TEXT    NOT NULL,
    importance    REAL    NOT NULL,
    trust         REAL    NOT NULL,
    source        TEXT,
    session       BLOB,
    words         INTEGER NOT NULL,
    content_bytes INTEGER NOT NULL,
    -- The version that brought the present text: a vector belongs to a text, not to a memory.
    text_version  INTEGER NOT NULL DEFAULT 1,
    -- Hashes of the terms by which the memory is found, 8 bytes each, little-endian.
    terms         BLOB    NOT NULL DEFAULT x''
) STRICT;

-- Long columns stand apart, so that loading the index reads none of them.
CREATE TABLE memory_content (
    memory   INTEGER PRIMARY KEY REFERENCES memory (seq) ON DELETE CASCADE,
    metadata TEXT NOT NULL,
    content  TEXT NOT NULL
) STRICT;

-- The branches of visibility. Each index ends in the rowid, so it also serves the order of creation.
CREATE INDEX memory_owner ON memory (namespace, agent) WHERE deleted_at IS NULL;
CREATE INDEX memory_team ON memory (namespace) WHERE deleted_at IS NULL AND access = 'team';
CREATE INDEX memory_open ON memory (access) WHERE deleted_at IS NULL AND access IN ('public', 'system');
CREATE INDEX memory_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;

-- Versions that were replaced; the current one is the row of `memory`.
CREATE TABLE revision (
    memory        INTEGER NOT NULL REFERENCES memory (seq) ON DELETE CASCADE,
    version       INTEGER NOT NULL,
    change        TEXT    NOT NULL,
    changed_by    TEXT    NOT NULL,
    recorded_at   INTEGER NOT NULL,
    tags          TEXT    NOT NULL,
    importance    REAL    NOT NULL,
    superseded_by BLOB,
    content       TEXT    NOT NULL,
    PRIMARY KEY (memory, version)
) STRICT;

CREATE TABLE memory_grant (
    memory     INTEGER NOT NULL REFERENCES memory (seq) ON DELETE CASCADE,
    namespace  TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    permission TEXT    NOT NULL CHECK (permission IN ('read', 'write', 'delete')),
    PRIMARY KEY (memory, namespace, agent)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_grant_receiver ON memory_grant (namespace, agent);

-- Apart from `memory`, so that counting a read does not rewrite the row that was read.
CREATE TABLE memory_access (
    memory      INTEGER PRIMARY KEY REFERENCES memory (seq) ON DELETE CASCADE,
    count       INTEGER NOT NULL,
    -- Relevance at the time of the latest read, from which it decays.
    relevance   REAL    NOT NULL DEFAULT 0.5,
    accessed_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Counts that are asked for often and must not cost a scan.
CREATE TABLE counter (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Memories that are found; those that are not deleted, superseded ones included; and agents.
INSERT INTO counter VALUES ('memories', 0), ('present', 0), ('agents', 0);

CREATE TRIGGER memory_counted AFTER INSERT ON memory
WHEN new.deleted_at IS NULL AND new.superseded_by IS NULL
BEGIN UPDATE counter SET value = value + 1 WHERE name = 'memories'; END;

CREATE TRIGGER memory_uncounted AFTER DELETE ON memory
WHEN old.deleted_at IS NULL AND old.superseded_by IS NULL
BEGIN UPDATE counter SET value = value - 1 WHERE name = 'memories'; END;

CREATE TRIGGER memory_recounted AFTER UPDATE OF deleted_at, superseded_by ON memory
WHEN (old.deleted_at IS NULL AND old.superseded_by IS NULL)
  <> (new.deleted_at IS NULL AND new.superseded_by IS NULL)
BEGIN
    UPDATE counter
    SET value = value + iif(new.deleted_at IS NULL AND new.superseded_by IS NULL, 1, -1)
    WHERE name = 'memories';
END;

CREATE TRIGGER memory_present AFTER INSERT ON memory WHEN new.deleted_at IS NULL
BEGIN UPDATE counter SET value = value + 1 WHERE name = 'present'; END;
CREATE TRIGGER memory_absent AFTER DELETE ON memory WHEN old.deleted_at IS NULL
BEGIN UPDATE counter SET value = value - 1 WHERE name = 'present'; END;
CREATE TRIGGER memory_hidden AFTER UPDATE OF deleted_at ON memory
WHEN (old.deleted_at IS NULL) <> (new.deleted_at IS NULL)
BEGIN
    UPDATE counter SET value = value + iif(new.deleted_at IS NULL, 1, -1) WHERE name = 'present';
END;

CREATE TABLE embedding_model (
    id        INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL,
    dimension INTEGER NOT NULL,
    -- One is `active`, at most one the `target` of a switch, others were active once.
    state     TEXT    NOT NULL CHECK (state IN ('active', 'target', 'kept')),
    UNIQUE (name, dimension)
) STRICT;

-- `key` is the model's id shifted left by 48 bits, plus the memory's row: the vectors of a model
-- lie together in the order of the memories.
CREATE TABLE vector (
    key       INTEGER PRIMARY KEY,
    -- f32 scale and one signed byte for each dimension.
    quantized BLOB NOT NULL
) STRICT;
-- The same in full, f32 little-endian: read for the few that an answer is made from.
CREATE TABLE vector_exact (
    key   INTEGER PRIMARY KEY,
    exact BLOB NOT NULL
) STRICT;

-- Vectors are counted by model.
CREATE TRIGGER vector_counted AFTER INSERT ON vector
BEGIN
    INSERT INTO counter VALUES ('vectors/' || (new.key >> 48), 1)
    ON CONFLICT DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER vector_uncounted AFTER DELETE ON vector
BEGIN UPDATE counter SET value = value - 1 WHERE name = 'vectors/' || (old.key >> 48); END;

-- Random numbers that the store keeps to itself: `cursor` masks the rows in cursors.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO secret VALUES ('cursor', randomblob(32));

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

CREATE TRIGGER agent_counted AFTER INSERT ON agent
BEGIN UPDATE counter SET value = value + 1 WHERE name = 'agents'; END;
