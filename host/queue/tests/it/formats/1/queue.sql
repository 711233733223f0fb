-- A queue as format 1 wrote it, with mail in each state. Frozen: never change it.
BEGIN;
CREATE TABLE mail (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  domain TEXT NOT NULL,
  received INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  recipients INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  envelope TEXT NOT NULL,
  attributes TEXT
) STRICT;
CREATE TABLE recipient (
  mail INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  state INTEGER NOT NULL,
  due INTEGER NOT NULL,
  waiting_for TEXT,
  details TEXT NOT NULL,
  PRIMARY KEY (mail, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE kv (
  space TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  expires INTEGER,
  PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
INSERT INTO mail VALUES (1, X'00000000000000000000000000000001', 'a.example', 1000000000, 1005000000, 1, 1, 0, 1041, '{"sender":{"Mailbox":"sender@b.example"},"recipients":[{"address":"r0@a.example"}],"body":"SevenBit","smtputf8":false,"envid":"QQ314159"}', '{"spam":"no"}');
INSERT INTO mail VALUES (2, X'00000000000000000000000000000002', 'a.example', 1000000000, 1005000000, 4, 1, 1077, 1041, '{"sender":{"Mailbox":"sender@b.example"},"recipients":[{"address":"r0@a.example"},{"address":"r1@a.example"},{"address":"r2@a.example"},{"address":"r3@a.example"}],"body":"SevenBit","smtputf8":false,"envid":"QQ314159"}', '{"spam":"maybe"}');
INSERT INTO mail VALUES (3, X'00000000000000000000000000000003', 'a.example', 1000000000, 1005000000, 1, 1, 2154, 1041, '{"sender":{"Mailbox":"sender@b.example"},"recipients":[{"address":"r0@a.example"}],"body":"SevenBit","smtputf8":false,"envid":"QQ314159"}', '{"spam":"no"}');
INSERT INTO mail VALUES (4, X'00000000000000000000000000000004', 'a.example', 1000000000, 1005000000, 2, 1, 3231, 1041, '{"sender":{"Mailbox":"sender@b.example"},"recipients":[{"address":"r0@a.example"},{"address":"r1@a.example"}],"body":"SevenBit","smtputf8":false,"envid":"QQ314159"}', '{"spam":"no"}');
INSERT INTO mail VALUES (5, X'00000000000000000000000000000005', 'a.example', 1000000000, 1005000000, 1, 2, 0, 1041, '{"sender":{"Mailbox":"sender@b.example"},"recipients":[{"address":"r0@a.example"}],"body":"SevenBit","smtputf8":false,"envid":"QQ314159"}', NULL);
INSERT INTO recipient VALUES (2, 0, 4, 0, NULL, '{"attempts":0}');
INSERT INTO recipient VALUES (2, 1, 1, 1000060000, 'mx.a.example:25', '{"attempts":1,"offline_since":1000000000,"expires_at":1005000000,"address":"r1@a.example","last_failure":{"kind":"connect","detail":"no route to host","next_hop":"mx.a.example:25","reply":null},"delay_told":true}');
INSERT INTO recipient VALUES (2, 2, 2, 9223372036854775807, NULL, '{"attempts":0,"expires_at":1005000000,"address":"r2@a.example","reason":"ask the author"}');
INSERT INTO recipient VALUES (2, 3, 0, 1000000000, NULL, '{"attempts":0,"expires_at":1005000000,"address":"new@a.example"}');
INSERT INTO recipient VALUES (3, 0, 2, 1005000000, 'mx.a.example:25', '{"attempts":1,"offline_since":1000000000,"expires_at":1005000000,"address":"r0@a.example","reason":"away","last_failure":{"kind":"connect","detail":"no route to host","next_hop":"mx.a.example:25","reply":null}}');
INSERT INTO recipient VALUES (4, 0, 3, 9223372036854775807, NULL, '{"attempts":0,"reason":"virus"}');
INSERT INTO recipient VALUES (4, 1, 3, 9223372036854775807, NULL, '{"attempts":0,"reason":"virus"}');
INSERT INTO recipient VALUES (5, 0, 2, 9223372036854775807, NULL, '{"attempts":0,"reason":"domain on hold"}');
INSERT INTO kv VALUES (CAST(X'00' AS TEXT), 'proven mx.a.example:25', X'796573', NULL);
INSERT INTO kv VALUES (CAST(X'677265796c69737400612e6578616d706c65' AS TEXT), '192.0.2.1 ann', X'7365656e', 1003600000);
INSERT INTO kv VALUES (CAST(X'677265796c69737400612e6578616d706c65' AS TEXT), 'count', X'37', NULL);
PRAGMA user_version = 1;
COMMIT;
