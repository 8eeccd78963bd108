-- CodeRAG's demo database: a bicycle rental with stations in six cities.
-- Every row is computed from row numbers, so each build of it is identical.

PRAGMA foreign_keys = ON;

BEGIN;

CREATE TABLE city (
    city_id    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    country    TEXT NOT NULL,
    population INTEGER NOT NULL
);

CREATE TABLE station (
    station_id  INTEGER PRIMARY KEY,
    city_id     INTEGER NOT NULL REFERENCES city (city_id),
    name        TEXT NOT NULL,
    docks       INTEGER NOT NULL,
    opened_on   TEXT NOT NULL,
    has_charger INTEGER NOT NULL CHECK (has_charger IN (0, 1))
);

CREATE TABLE bicycle (
    bicycle_id      INTEGER PRIMARY KEY,
    model           TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('city', 'electric', 'cargo')),
    home_station_id INTEGER NOT NULL REFERENCES station (station_id),
    bought_on       TEXT NOT NULL,
    price_eur       REAL NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('available', 'in repair', 'retired'))
);

CREATE TABLE member (
    member_id  INTEGER PRIMARY KEY,
    first_name TEXT NOT NULL,
    last_name  TEXT NOT NULL,
    city_id    INTEGER NOT NULL REFERENCES city (city_id),
    plan       TEXT NOT NULL CHECK (plan IN ('day', 'month', 'year')),
    joined_on  TEXT NOT NULL,
    birth_year INTEGER NOT NULL
);

CREATE TABLE ride (
    ride_id          INTEGER PRIMARY KEY,
    member_id        INTEGER NOT NULL REFERENCES member (member_id),
    bicycle_id       INTEGER NOT NULL REFERENCES bicycle (bicycle_id),
    start_station_id INTEGER NOT NULL REFERENCES station (station_id),
    end_station_id   INTEGER NOT NULL REFERENCES station (station_id),
    started_at       TEXT NOT NULL,
    minutes          INTEGER NOT NULL,
    distance_km      REAL NOT NULL,
    fee_eur          REAL NOT NULL
);

CREATE TABLE mechanic (
    mechanic_id INTEGER PRIMARY KEY,
    first_name  TEXT NOT NULL,
    last_name   TEXT NOT NULL,
    city_id     INTEGER NOT NULL REFERENCES city (city_id),
    hired_on    TEXT NOT NULL
);

CREATE TABLE repair (
    repair_id   INTEGER PRIMARY KEY,
    bicycle_id  INTEGER NOT NULL REFERENCES bicycle (bicycle_id),
    mechanic_id INTEGER NOT NULL REFERENCES mechanic (mechanic_id),
    reported_on TEXT NOT NULL,
    finished_on TEXT,
    part        TEXT NOT NULL,
    cost_eur    REAL NOT NULL
);

CREATE TABLE review (
    review_id  INTEGER PRIMARY KEY,
    member_id  INTEGER NOT NULL REFERENCES member (member_id),
    station_id INTEGER NOT NULL REFERENCES station (station_id),
    stars      INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    comment    TEXT,
    written_on TEXT NOT NULL
);

INSERT INTO city VALUES
    (1, 'Lisbon', 'Portugal', 545923),
    (2, 'Porto', 'Portugal', 231962),
    (3, 'Ghent', 'Belgium', 265086),
    (4, 'Utrecht', 'Netherlands', 361924),
    (5, 'Bologna', 'Italy', 387971),
    (6, 'Graz', 'Austria', 292630);

-- Bigger cities have more stations: 9, 4, 5, 6, 7 and 5 of the 36.
WITH RECURSIVE
    row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 36),
    place (p, label) AS (VALUES
        (0, 'Market Square'), (1, 'Central Station'), (2, 'University'), (3, 'Old Harbour'),
        (4, 'City Park'), (5, 'Town Hall'), (6, 'Museum'), (7, 'Hospital'), (8, 'Stadium'))
INSERT INTO station
SELECT n,
       CASE WHEN n <= 9 THEN 1 WHEN n <= 13 THEN 2 WHEN n <= 18 THEN 3
            WHEN n <= 24 THEN 4 WHEN n <= 31 THEN 5 ELSE 6 END,
       (SELECT label FROM place WHERE p = CASE
            WHEN n <= 9 THEN n - 1 WHEN n <= 13 THEN n - 10 WHEN n <= 18 THEN n - 14
            WHEN n <= 24 THEN n - 19 WHEN n <= 31 THEN n - 25 ELSE n - 32 END),
       8 + (n * 7) % 23,
       date('2019-03-01', '+' || ((n * 53) % 1500) || ' days'),
       n % 3 = 0
FROM row;

WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 240)
INSERT INTO bicycle
SELECT n,
       CASE n % 5 WHEN 0 THEN 'Volta E' WHEN 1 THEN 'Polder 3' WHEN 2 THEN 'Polder 7'
                  WHEN 3 THEN 'Ribeira' ELSE 'Mula Cargo' END,
       CASE n % 5 WHEN 0 THEN 'electric' WHEN 4 THEN 'cargo' ELSE 'city' END,
       1 + (n * 17) % 36,
       date('2019-02-01', '+' || ((n * 37) % 1800) || ' days'),
       CASE n % 5 WHEN 0 THEN 1890.0 WHEN 4 THEN 2450.0 ELSE 540.0 END + (n * 13) % 90,
       CASE WHEN n % 19 = 0 THEN 'retired' WHEN n % 11 = 0 THEN 'in repair' ELSE 'available' END
FROM row;

WITH RECURSIVE
    row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 420),
    first (f, label) AS (VALUES
        (0, 'Ana'), (1, 'Bram'), (2, 'Carla'), (3, 'Dario'), (4, 'Elif'), (5, 'Fleur'),
        (6, 'Gustav'), (7, 'Hanna'), (8, 'Ivo'), (9, 'Jana'), (10, 'Kemal'), (11, 'Lotte'),
        (12, 'Marta'), (13, 'Nuno'), (14, 'Olga'), (15, 'Paolo'), (16, 'Renata'), (17, 'Sander'),
        (18, 'Tessa')),
    last (l, label) AS (VALUES
        (0, 'Almeida'), (1, 'Bakker'), (2, 'Costa'), (3, 'De Smet'), (4, 'Eder'), (5, 'Ferrari'),
        (6, 'Gruber'), (7, 'Hofer'), (8, 'Jansen'), (9, 'Lopes'), (10, 'Maes'), (11, 'Novak'),
        (12, 'Peeters'), (13, 'Ricci'), (14, 'Santos'), (15, 'Visser'), (16, 'Wagner'))
INSERT INTO member
SELECT n,
       (SELECT label FROM first WHERE f = n % 19),
       (SELECT label FROM last WHERE l = (n * 5) % 17),
       1 + (n * n + n / 7) % 6,
       CASE WHEN n % 4 = 0 THEN 'day' WHEN n % 4 = 3 THEN 'year' ELSE 'month' END,
       date('2020-01-05', '+' || ((n * 29) % 1900) || ' days'),
       1950 + (n * 11) % 57
FROM row;

-- `draw` is a linear congruential generator (the constants of ANSI C's rand), so that rides look
-- random. The lower of two draws picks the start: stations with a low number are busier. The fee is
-- 1 euro to unlock plus 10 cents a minute, 25 cents on an electric bicycle.
WITH RECURSIVE
    draw (n, seed) AS (
        SELECT 1, 20230101
        UNION ALL
        SELECT n + 1, (seed * 1103515245 + 12345) % 2147483648 FROM draw WHERE n < 4200 * 6),
    picked (n, member_id, picked_bicycle, start_station_id, end_station_id, day, minutes) AS (
        SELECT n,
               1 + (seed >> 16) % 420,
               1 + (lag(seed, 1) OVER series >> 16) % 240,
               1 + min((lag(seed, 2) OVER series >> 16) % 36, (lag(seed, 3) OVER series >> 16) % 36),
               1 + (lag(seed, 4) OVER series >> 16) % 36,
               (lag(seed, 5) OVER series >> 16) % 1090,
               4 + (lag(seed, 5) OVER series >> 8) % 57
        FROM draw
        WINDOW series AS (ORDER BY n))
INSERT INTO ride
SELECT n / 6,
       member_id,
       bicycle_id,
       start_station_id,
       end_station_id,
       datetime('2023-01-01 06:00:00', '+' || day || ' days', '+' || ((n * 37) % 1020) || ' minutes'),
       minutes,
       round(minutes * CASE kind WHEN 'electric' THEN 0.31 WHEN 'cargo' THEN 0.18 ELSE 0.24 END, 1),
       round(1.0 + minutes * CASE kind WHEN 'electric' THEN 0.25 ELSE 0.10 END, 2)
FROM picked
JOIN bicycle ON bicycle_id = picked_bicycle
WHERE n % 6 = 0;

INSERT INTO mechanic VALUES
    (1, 'Rui', 'Teixeira', 1, '2019-02-11'), (2, 'Inês', 'Moreira', 1, '2021-06-01'),
    (3, 'Tomás', 'Faria', 2, '2020-04-20'), (4, 'Joris', 'Claes', 3, '2019-09-02'),
    (5, 'Mieke', 'van Dam', 4, '2019-03-18'), (6, 'Daan', 'Smit', 4, '2022-01-10'),
    (7, 'Giulia', 'Conti', 5, '2020-10-05'), (8, 'Luca', 'Gallo', 5, '2023-05-15'),
    (9, 'Franz', 'Leitner', 6, '2021-02-22');

WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 380)
INSERT INTO repair
SELECT n,
       1 + (n * 47) % 240,
       1 + (n * 7 + n / 9) % 9,
       date('2022-06-01', '+' || ((n * 31) % 1200) || ' days'),
       CASE WHEN n % 17 <> 0
            THEN date('2022-06-01', '+' || ((n * 31) % 1200 + 1 + n % 12) || ' days') END,
       CASE n % 6 WHEN 0 THEN 'chain' WHEN 1 THEN 'brake' WHEN 2 THEN 'tyre'
                  WHEN 3 THEN 'light' WHEN 4 THEN 'saddle' ELSE 'battery' END,
       round(12.5 + (n * 29) % 140 * CASE WHEN n % 6 = 5 THEN 2.5 ELSE 0.75 END, 2)
FROM row;

WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 600)
INSERT INTO review
SELECT n,
       1 + (n * 67) % 420,
       1 + (n * 5 + n / 36) % 36,
       CASE WHEN n % 10 < 4 THEN 5 WHEN n % 10 < 7 THEN 4 WHEN n % 10 < 8 THEN 3
            WHEN n % 10 < 9 THEN 2 ELSE 1 END,
       CASE n % 5 WHEN 0 THEN 'Always a free dock.' WHEN 1 THEN 'Clean bicycles, easy to find.'
                  WHEN 2 THEN 'The screen is hard to read in the sun.'
                  WHEN 3 THEN 'Too few bicycles on Friday evenings.' END,
       date('2023-01-10', '+' || ((n * 41) % 1050) || ' days')
FROM row;

CREATE INDEX ride_member ON ride (member_id);
CREATE INDEX ride_start_station ON ride (start_station_id);
CREATE INDEX repair_bicycle ON repair (bicycle_id);

COMMIT;
