-- Memories with their history, grants, access counts and full-text index.
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
    -- The long columns come last: a query that needs neither reads no overflow page.
    metadata      TEXT    NOT NULL,
    content       TEXT    NOT NULL
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
    memory INTEGER PRIMARY KEY REFERENCES memory (seq) ON DELETE CASCADE,
    count  INTEGER NOT NULL
) STRICT;

-- `scope` holds one token for each way in which somebody may see the row (src/store/sqlite/scope.rs).
-- Contentless: the text is not kept twice, and what is indexed may be prepared for the tokenizer.
CREATE VIRTUAL TABLE memory_text USING fts5 (
    content, tags, kind, scope,
    content = '', contentless_delete = 1,
    tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Counts that are asked for often and must not cost a scan.
CREATE TABLE counter (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('memories', 0);

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
