-- Random numbers that the store keeps to itself: `cursor` masks the rows in cursors.
CREATE TABLE tmws.secret (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);
INSERT INTO tmws.secret
VALUES ('cursor', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
