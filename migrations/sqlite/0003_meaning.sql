-- Vectors and terms: memories are found from an index in memory that is loaded from here.

-- Long columns stand apart, so that loading the index reads none of them.
CREATE TABLE memory_content (
    memory   INTEGER PRIMARY KEY REFERENCES memory (seq) ON DELETE CASCADE,
    metadata TEXT NOT NULL,
    content  TEXT NOT NULL
) STRICT;
INSERT INTO memory_content SELECT seq, metadata, content FROM memory;

-- The version that brought the present text: a vector belongs to a text, not to a memory.
ALTER TABLE memory ADD COLUMN text_version INTEGER NOT NULL DEFAULT 1;
-- Hashes of the terms by which the memory is found, 8 bytes each, little-endian.
ALTER TABLE memory ADD COLUMN terms BLOB NOT NULL DEFAULT x'';
UPDATE memory SET
    text_version = version,
    terms = tmws_terms(content, kind, tags),
    words = tmws_words(content);
ALTER TABLE memory DROP COLUMN metadata;
ALTER TABLE memory DROP COLUMN content;
DROP TABLE memory_text;

-- Relevance at the time of the latest read, from which it decays.
ALTER TABLE memory_access ADD COLUMN relevance REAL NOT NULL DEFAULT 0.5;
ALTER TABLE memory_access ADD COLUMN accessed_at INTEGER NOT NULL DEFAULT 0;

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

-- Memories that are not deleted, superseded ones included; and vectors by model.
INSERT INTO counter
SELECT 'present', count(*) FROM memory WHERE deleted_at IS NULL;
CREATE TRIGGER memory_present AFTER INSERT ON memory WHEN new.deleted_at IS NULL
BEGIN UPDATE counter SET value = value + 1 WHERE name = 'present'; END;
CREATE TRIGGER memory_absent AFTER DELETE ON memory WHEN old.deleted_at IS NULL
BEGIN UPDATE counter SET value = value - 1 WHERE name = 'present'; END;
CREATE TRIGGER memory_hidden AFTER UPDATE OF deleted_at ON memory
WHEN (old.deleted_at IS NULL) <> (new.deleted_at IS NULL)
BEGIN
    UPDATE counter SET value = value + iif(new.deleted_at IS NULL, 1, -1) WHERE name = 'present';
END;
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
