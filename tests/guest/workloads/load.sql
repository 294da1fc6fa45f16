CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);
CREATE INDEX item_kind ON item (kind, price);
CREATE INDEX item_name ON item (name);
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO item SELECT i, printf('item %x', i * 7919 % 65537), i * 7919 % 10007 / 8.0, i * 31 % 17 FROM n;
COMMIT;
UPDATE item SET price = price * 1.5 WHERE kind % 3 = 1;
DELETE FROM item WHERE id % 11 = 5;
INSERT INTO item SELECT id + 100000, upper(name), price / 2, kind + 1 FROM item WHERE kind < 4;
VACUUM;
PRAGMA integrity_check;
SELECT kind, count(*), sum(price), max(name) FROM item GROUP BY kind ORDER BY kind;
SELECT a.name, b.id FROM item a JOIN item b ON b.name = upper(a.name) AND b.id > 100000 ORDER BY a.name LIMIT 50;
SELECT count(*) FROM item WHERE name LIKE '%ff%' AND price BETWEEN 100.5 AND 900.25;
SELECT id, name, price, rank() OVER (PARTITION BY kind ORDER BY price DESC, id) AS place FROM item ORDER BY place, id LIMIT 60;
