-- A database in memory: the rows number as many as the table `size` says (see workloads.json).
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, price INTEGER);

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT (SELECT n / 10 FROM size))
INSERT INTO customer SELECT i, printf('%x customer %d', i * 2654435761 % 65521, i),
    'city ' || (i % 97) FROM n;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT (SELECT n FROM size))
INSERT INTO purchase
SELECT i, 1 + i * 40503 % (SELECT n / 10 FROM size), 'item ' || (i * 2654435761 % 9973),
    i * 7919 % 1000 FROM n;

CREATE INDEX purchase_item ON purchase(item);
CREATE INDEX purchase_customer ON purchase(customer, price);

SELECT city, count(*), sum(price) FROM purchase JOIN customer ON customer.id = customer
GROUP BY city ORDER BY 3 DESC, 1 LIMIT 5;
SELECT item, group_concat(name) FROM purchase JOIN customer ON customer.id = customer
WHERE price > 990 GROUP BY item ORDER BY length(group_concat(name)) DESC, item LIMIT 3;
UPDATE purchase SET item = item || ' (sold)' WHERE price % 3 = 0;
DELETE FROM purchase WHERE customer IN (SELECT id FROM customer WHERE name LIKE '%7%');
SELECT count(*), count(DISTINCT item), sum(length(item)) FROM purchase;
