"""A filled database: users, projects, avatars, uses and generations as after a year, at any size.

The rows are what the service itself would have written, except that no file is in the storage: read and
list avatars, but do not download them. PostgreSQL makes all rows from numbers, so the same size gives the
same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from avatar_creator_server.generations.route_factory import SKETCH_REVISION

LARGEST_USER = "user-1"
"""User with the most avatars and uses."""
FAVORITE_SHARE = 50
"""One use in so many is of one avatar, the first of the largest user."""
RARE_APP = "rare-app"
"""App with five uses, all of the favorite avatar."""
RARE_WORD = "xylophone"
"""Word in the prompts of one avatar in 20,000, and of the largest user's first one."""
DAYS = 365
"""Days over which everything was created."""

_STRUCTURES = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
    format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'p', 'u')
    AND conrelid::regclass::text IN %(tables)s
ORDER BY contype = 'f' DESC
"""
"""Statements that drop and add each key, foreign keys first."""

_INDEXES = """
SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid::regclass::text IN %(tables)s
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
"""Statements that drop and create each index that belongs to no key."""

_TABLES = (
    "avatar_projects",
    "files",
    "avatar_generations",
    "generation_attempts",
    "generation_recipes",
    "avatars",
    "avatar_usage_history",
    "avatar_app_usage",
    "avatar_app_actions",
    "user_statistics",
    "daily_uploads",
    "generation_starts",
    "daily_spend",
    "claim_turns",
    "idempotency_keys",
    "quick_work",
)

_FUNCTIONS = """
-- A UUIDv7 of a kind of row, a time and a number: ids sort by time, and then by number.
CREATE FUNCTION pg_temp.id(kind INTEGER, at TIMESTAMPTZ, number BIGINT) RETURNS TEXT IMMUTABLE LANGUAGE SQL
RETURN lpad(to_hex((extract(epoch FROM at) * 1000)::BIGINT >> 16), 8, '0') || '-'
    || lpad(to_hex((extract(epoch FROM at) * 1000)::BIGINT & 65535), 4, '0')
    || '-7' || lpad(to_hex(kind), 3, '0') || '-8000-' || lpad(to_hex(number), 12, '0');
-- A number from 0 to below 1 that looks random.
CREATE FUNCTION pg_temp.part(number BIGINT, salt BIGINT) RETURNS FLOAT8 IMMUTABLE LANGUAGE SQL
RETURN (hashint8extended(number, salt) & 1073741823) / 1073741824.0::FLOAT8;
-- One of some words.
CREATE FUNCTION pg_temp.word(words TEXT[], number BIGINT, salt BIGINT) RETURNS TEXT IMMUTABLE LANGUAGE SQL
RETURN words[1 + floor(pg_temp.part(number, salt) * cardinality(words))::INTEGER]
"""

_PEOPLE = """
CREATE TEMPORARY TABLE people AS
WITH owned AS (
    SELECT n, %(start)s + n * %(span)s / %(avatars)s AS at,
        CASE WHEN n * %(largest)s / %(avatars)s > (n - 1) * %(largest)s / %(avatars)s THEN 1
            ELSE 2 + floor((%(users)s - 1) * pg_temp.part(n, 1) ^ 2)::INTEGER END AS owner
    FROM generate_series(1, %(avatars)s::BIGINT) AS n
), placed AS (
    SELECT n, at, owner, pg_temp.part(n, 8) AS fate,
        CASE WHEN owner = 1 THEN 1 + floor(100 * pg_temp.part(n, 2) ^ 2)::INTEGER
            ELSE 101 + 3 * (owner - 2) + floor(3 * pg_temp.part(n, 2))::INTEGER END AS project
    FROM owned
)
SELECT n, at, pg_temp.id(1, at, n) AS id, 'user-' || owner AS user_id,
    pg_temp.id(0, %(start)s, project) AS project_id,
    CASE WHEN fate < 0.5 THEN pg_temp.id(3, at - interval '20 s', n) END AS generation_id,
    pg_temp.word(ARRAY['Sarah','Adam','Éva','Noor','Kenji','Lucía','Olu','Mei','Ivan','Aisha','Tom','Zoë',
        'Priya','Jonas','Fatima','Marco'], n, 3) AS first_name,
    pg_temp.word(ARRAY['Stone','Okafor','Tanaka','Müller','Rossi','Silva','Novak','Haddad','Kim','Larsen',
        'Moreau','Singh','Cohen','Papadaki','Wójcik','Brown'], n, 4) AS last_name,
    'portrait of a ' || pg_temp.word(ARRAY['calm','smiling','serious','confident','pensive','cheerful'], n, 5)
        || ' ' || pg_temp.word(ARRAY['engineer','teacher','chef','pilot','gardener','nurse','painter',
        'baker','sailor','violinist','judge','farmer'], n, 6) || ' in '
        || pg_temp.word(ARRAY['a studio','soft daylight','the rain','a library','a garden'], n, 7)
        || CASE WHEN n %% 20000 = 0 OR n = %(favorite)s THEN ' with a ' || %(rare_word)s ELSE '' END
        AS prompt,
    fate
FROM placed
"""
"""One row for each avatar, and for what became of a generation: `fate` below 0.5 made the avatar; the next
twentieth failed, and the next fortieth was cancelled, next to an upload of the same user."""

_USES = """
CREATE TEMPORARY TABLE uses AS
WITH picked AS (
    SELECT n, %(start)s + n * %(span)s / %(uses)s AS at, n %% %(favorite_share)s = 0 AS of_favorite,
        CASE WHEN n %% %(favorite_share)s = 0 THEN %(favorite)s ELSE
            1 + floor(n * %(avatars)s / %(uses)s * pg_temp.part(n, 20))::BIGINT END AS avatar
    FROM generate_series(1, %(uses)s::BIGINT) AS n
), placed AS (
    -- A third of the avatars is never used.
    SELECT n, at, of_favorite,
        CASE WHEN of_favorite OR avatar %% 3 != 0 THEN avatar ELSE avatar - 1 END AS avatar
    FROM picked
)
SELECT placed.n, placed.at, people.id AS avatar_id, people.user_id,
    CASE WHEN of_favorite
            AND placed.n / %(favorite_share)s %% greatest(%(uses)s / %(favorite_share)s / 5, 1) = 0
            THEN %(rare_app)s
        WHEN of_favorite AND placed.n / %(favorite_share)s %% 2 = 0 THEN 'pose-generator'
        WHEN of_favorite THEN 'app-' || placed.n / %(favorite_share)s %% 1000
        ELSE (ARRAY['pose-generator','video-generator','comic-maker','stage'])
            [1 + (avatar + floor(2 * pg_temp.part(placed.n, 21))::BIGINT) %% 4] END AS app_id,
    (ARRAY['generate','export','preview'])[1 + floor(2.1 * pg_temp.part(placed.n, 22))::INTEGER] AS action
FROM placed JOIN people ON people.n = avatar
"""

_FILL = """
INSERT INTO avatar_projects (id, user_id, name, description, avatar_count, create_time, update_time)
SELECT pg_temp.id(0, %(start)s, n), 'user-' || CASE WHEN n <= 100 THEN 1 ELSE 2 + (n - 101) / 3 END,
    'Project ' || n, 'Faces of a campaign', coalesce(avatar_count, 0), %(start)s, %(start)s
FROM generate_series(1, 100 + 3 * (%(users)s::BIGINT - 1)) AS n
LEFT JOIN (SELECT project_id, count(*) AS avatar_count FROM people GROUP BY project_id) AS counted
    ON project_id = pg_temp.id(0, %(start)s, n);

INSERT INTO files (id, user_id, key, state, content_type, size_bytes, sha256, width, height, create_time)
SELECT pg_temp.id(2, at, 2 * n + part), user_id,
    'avatars/' || user_id || '/' || pg_temp.id(2, at, 2 * n + part) || '.png', 'owned', 'image/png',
    CASE part WHEN 0 THEN 1400000 ELSE 30000 END, md5(n::TEXT) || md5(part::TEXT),
    CASE part WHEN 0 THEN 1024 ELSE 300 END, CASE part WHEN 0 THEN 1024 ELSE 300 END, at
FROM people CROSS JOIN generate_series(0, 1) AS part;
-- Uploads of this moment, and files whose bytes are being removed.
INSERT INTO files (id, user_id, key, state, content_type, size_bytes, sha256, width, height, create_time)
SELECT pg_temp.id(2, %(now)s, n), 'user-' || n, 'avatars/left/' || n || '.png',
    CASE n %% 2 WHEN 0 THEN 'staged' ELSE 'deleting' END, 'image/png', 1400000, md5(n::TEXT), 1024, 1024,
    %(now)s
FROM generate_series(1, %(avatars)s / 1000) AS n;

CREATE TEMPORARY TABLE work AS
SELECT coalesce(generation_id, pg_temp.id(3, at - interval '20 s', n)) AS id, user_id, project_id,
    CASE WHEN fate < 0.5 THEN 'completed' WHEN fate < 0.55 THEN 'failed' ELSE 'cancelled' END AS state,
    1 AS priority, first_name || ' ' || last_name AS name, prompt, n, at - interval '20 s' AS at,
    at AS end_time, NULL::TIMESTAMPTZ AS due_time
FROM people WHERE fate < 0.575
UNION ALL
SELECT pg_temp.id(4, at, n), 'user-' || owner,
    pg_temp.id(0, %(start)s, CASE WHEN owner = 1 THEN 1 + n %% 100 ELSE 97 + 3 * owner - n %% 3 END),
    'pending', CASE WHEN n %% 10 < 2 THEN 0 WHEN n %% 10 < 8 THEN 1 ELSE 2 END, 'Waiting ' || n,
    'a portrait', n, at, NULL,
    CASE WHEN n %% 50 = 0 THEN %(now)s + interval '1 day' ELSE at END
FROM (
    SELECT n, %(now)s - (%(queued)s - n) * interval '50 ms' AS at,
        1 + floor(%(waiting_users)s * pg_temp.part(n, 30) ^ 2)::INTEGER AS owner
    FROM generate_series(1, %(queued)s::BIGINT) AS n
) AS queue
UNION ALL
SELECT pg_temp.id(5, %(now)s, n), 'user-' || n,
    pg_temp.id(0, %(start)s, CASE n WHEN 1 THEN 1 ELSE 95 + 3 * n END),
    'processing', 1, 'Running ' || n, 'a portrait', n, %(now)s, NULL, %(now)s + interval '1 day'
FROM generate_series(1, least(%(queued)s::BIGINT, %(users)s, 20)) AS n;
INSERT INTO avatar_generations (id, user_id, project_id, state, stage, priority, progress_percent,
    progress_estimated, revision, epoch, avatar_name, prompt, persona, attributes, options, enhanced_prompt,
    negative_prompt, seed_used, provider, provider_prompt, warnings, error_reason, error_message, retry_of,
    app_id, price_micros, attempt_number, retry_count, worker_lost_count, release_count, due_time,
    create_time, start_time, end_time, update_time)
SELECT id, user_id, project_id, state,
    CASE state WHEN 'pending' THEN 'queued' WHEN 'processing' THEN 'drawing' ELSE 'ended' END, priority,
    CASE state WHEN 'completed' THEN 100 WHEN 'processing' THEN 40 ELSE 0 END, FALSE, 5,
    CASE state WHEN 'pending' THEN 0 ELSE 1 END, name, prompt,
    jsonb_build_object('name', name, 'age', 20 + n %% 50),
    '{"gender": "female", "style": "casual"}', '{"width": 1024, "height": 1024}',
    name || ', ' || prompt || ', casual clothes, sharp focus, looking into the camera, head and shoulders',
    'blurry, deformed, extra fingers, watermark, text', n %% 4294967296,
    CASE state WHEN 'pending' THEN '' ELSE 'sketch' END,
    CASE state WHEN 'completed' THEN prompt ELSE '' END, '[]',
    CASE state WHEN 'failed' THEN 'PROVIDER_FAILED' ELSE '' END,
    CASE state WHEN 'failed' THEN 'the provider answered with an error' ELSE '' END, '', 'studio',
    CASE state WHEN 'completed' THEN 25000 ELSE 0 END, CASE state WHEN 'pending' THEN 0 ELSE 1 END, 0, 0, 0,
    due_time, at, CASE WHEN state != 'pending' THEN at + interval '2 s' END, end_time, coalesce(end_time, at)
FROM work;
INSERT INTO generation_attempts (id, generation_id, attempt_number, outcome, worker, provider,
    provider_request_id, possibly_charged, route, price_micros, error_reason, error_message, start_time,
    end_time)
SELECT pg_temp.id(6, at, n), id, 1,
    CASE WHEN state = 'completed' THEN 'succeeded' WHEN state = 'cancelled' THEN 'cancelled'
        WHEN state = 'processing' THEN 'running' WHEN n %% 10 = 0 THEN 'worker_lost' ELSE 'fatal' END,
    'host-1', 'sketch', '', state = 'completed', 'local', CASE state WHEN 'completed' THEN 25000 ELSE 0 END,
    '', '', at + interval '2 s', end_time
FROM work WHERE state != 'pending';
INSERT INTO generation_recipes (generation_id, recipe)
SELECT id, jsonb_build_object('provider', 'sketch', 'route', 'local', 'model', '',
    'model_revision', %(sketch_revision)s::TEXT, 'seed', n, 'width', 1024, 'height', 1024,
    'enhanced_prompt', prompt, 'provider_prompt', prompt,
    'pixels_sha256', md5(id) || md5(prompt), 'software', 'avatar-creator')
FROM work WHERE state = 'completed';

INSERT INTO avatars (id, user_id, project_id, name, image_file_id, thumbnail_file_id, source_type,
    persona_name, persona_age, persona_personality, persona_background, gender, age_range, ethnicity,
    body_type, hair_style, hair_color, eye_color, skin_tone, style, headwear, generation_prompt, seed_used,
    generation_id, ethnicity_folded, search_text, usage_count, last_used_time, create_time, update_time)
SELECT id, user_id, project_id, first_name || ' ' || last_name, pg_temp.id(2, at, 2 * n),
    pg_temp.id(2, at, 2 * n + 1), CASE WHEN generation_id IS NULL THEN 'uploaded' ELSE 'text_to_image' END,
    first_name, 20 + n %% 50, '["calm", "kind"]', 'Grew up by the sea.',
    pg_temp.word(ARRAY['female','male','non_binary'], n, 9),
    pg_temp.word(ARRAY['young_adult','middle_aged','mature','senior'], n, 10), 'Nordic', 'average',
    pg_temp.word(ARRAY['short','long','curly','bun'], n, 11),
    pg_temp.word(ARRAY['black','brown','blonde'], n, 12), 'hazel', 'medium',
    pg_temp.word(ARRAY['professional','casual','formal','sporty'], n, 13), '', prompt,
    n %% 4294967296, generation_id, 'nordic',
    translate(lower(first_name || ' ' || last_name || ' ' || first_name || ' ' || prompt), 'éíëüó', 'eieuo'),
    coalesce(used.number, 0), used.last_time, at, at
FROM people LEFT JOIN (
    SELECT avatar_id, count(*) AS number, max(at) AS last_time FROM uses GROUP BY avatar_id
) AS used ON used.avatar_id = id;

INSERT INTO avatar_usage_history (id, avatar_id, user_id, app_id, app_name, action, reference_id,
    reference_type, metadata, create_time)
SELECT pg_temp.id(7, at, n), avatar_id, user_id, app_id, initcap(app_id), action, n::TEXT, 'scene',
    '{"size": "large", "tags": ["final"]}', at
FROM uses;
INSERT INTO avatar_app_usage (avatar_id, app_id, app_name, usage_count, first_used_time, last_used_time)
SELECT avatar_id, app_id, initcap(app_id), count(*), min(at), max(at) FROM uses GROUP BY avatar_id, app_id;
INSERT INTO avatar_app_actions (avatar_id, app_id, action, usage_count)
SELECT avatar_id, app_id, action, count(*) FROM uses GROUP BY avatar_id, app_id, action;

INSERT INTO user_statistics (user_id, avatar_count, usage_count, pending_count, processing_count,
    completed_count, failed_count, cancelled_count)
SELECT user_id, coalesce(avatars, 0), coalesce(uses, 0), coalesce(pending, 0), coalesce(processing, 0),
    coalesce(completed, 0), coalesce(failed, 0), coalesce(cancelled, 0)
FROM (SELECT user_id, count(*) AS avatars FROM people GROUP BY user_id) AS counted_avatars
FULL JOIN (SELECT user_id, count(*) AS uses FROM uses GROUP BY user_id) AS counted_uses USING (user_id)
FULL JOIN (
    SELECT user_id, count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'processing') AS processing,
        count(*) FILTER (WHERE state = 'completed') AS completed,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM work GROUP BY user_id
) AS counted_generations USING (user_id);
INSERT INTO daily_uploads (user_id, day, upload_count)
SELECT user_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, count(*)
FROM people WHERE generation_id IS NULL GROUP BY user_id, day;
INSERT INTO daily_spend (user_id, day, app_id, price_micros, attempt_count)
SELECT user_id, to_char(end_time AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, 'studio', 25000 * count(*),
    count(*)
FROM work WHERE state = 'completed' GROUP BY user_id, day;

-- Starts of the last day: those of the rows, and many of the largest user's whose rows were deleted.
INSERT INTO generation_starts (generation_id, user_id, price_micros, create_time)
SELECT id, user_id, 25000, at FROM work WHERE at > %(now)s - interval '1 day'
UNION ALL
SELECT pg_temp.id(8, %(now)s - n * interval '1 s', n), 'user-1', 25000, %(now)s - n * interval '1 s'
FROM generate_series(1, least(%(largest)s / 5, 80000)) AS n;
INSERT INTO claim_turns (user_id, claim_time)
SELECT user_id, min(at) - interval '1 hour' FROM work WHERE due_time IS NOT NULL GROUP BY user_id;
INSERT INTO idempotency_keys (user_id, method, request_id, body_hash, resource_id, create_time)
SELECT user_id, 'RecordUsage', md5(n::TEXT)::UUID, md5(avatar_id) || md5(app_id), pg_temp.id(7, at, n), at
FROM uses WHERE at > %(now)s - interval '6 days';
INSERT INTO quick_work (id, kind, subject_id, user_id, priority, turn, try_count, due_time, create_time)
SELECT pg_temp.id(9, %(now)s, n), 'remove_files', 'user-' || 1 + n %% %(users)s,
    'user-' || 1 + n %% %(users)s, 2, n / 100, 0, %(now)s, %(now)s
FROM generate_series(1, %(queued)s::BIGINT / 10) AS n
"""

_KEPT_BY_TRIGGERS = {
    "user_queues": """
INSERT INTO user_queues (user_id, priority, length, head_id, turn_time)
SELECT user_id, priority, length, head.id, greatest(head.create_time, claim_time)
FROM (
    SELECT user_id, priority, count(*) AS length, min(id) AS head_id FROM avatar_generations
    WHERE state = 'pending' AND due_time <= update_time GROUP BY user_id, priority
) AS queued JOIN avatar_generations AS head USING (user_id, priority) LEFT JOIN claim_turns USING (user_id)
WHERE head.id = head_id
""",
    "avatar_search": """
INSERT INTO avatar_search (avatar_id, user_id, project_id, source_type, gender, age_range, style,
    ethnicity_folded, search_text)
SELECT id, user_id, project_id, source_type, gender, age_range, style, ethnicity_folded, search_text
FROM avatars
""",
}
"""The rows that triggers would write one by one. Schemas that are compared with this one lack the tables."""


def fill(
    database_url: str, *, avatars: int, users: int, largest_user: int, uses: int, queued: int = 0
) -> None:
    """Fill a database that has just been migrated.

    Half of the avatars are uploaded and half are generated; 7.5 % more generations failed or were cancelled.
    A few users have much more than the others, and `LARGEST_USER` has the most.

    Args:
        database_url: URL of a PostgreSQL database, of a user who owns its tables.
        avatars: Number of avatars of all users.
        users: Number of users.
        largest_user: Number of avatars of `LARGEST_USER`, at least 1.
        uses: Number of uses of avatars.
        queued: Number of pending generations, of one user in twenty. All but 2 % are due. With them come up
            to 20 generations that seem to run, and a tenth as many background jobs.
    """
    values = {
        "avatars": avatars,
        "users": users,
        "largest": largest_user,
        "uses": uses,
        "queued": queued,
        "favorite": -(-avatars // largest_user),
        "favorite_share": FAVORITE_SHARE,
        "rare_app": RARE_APP,
        "rare_word": RARE_WORD,
        "waiting_users": -(-users // 20),
        "sketch_revision": SKETCH_REVISION,
    }
    with closing(psycopg2.connect(database_url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '256MB'; SET LOCAL maintenance_work_mem = '256MB'")
            cursor.execute("SELECT date_trunc('milliseconds', now())")
            [now] = cursor.fetchone() or ()
            cursor.execute("SELECT %(now)s - %(days)s * interval '1 day'", {"now": now, "days": DAYS})
            [start] = cursor.fetchone() or ()
            values |= {"now": now, "start": start, "span": now - start}
            kept = [name for name in _KEPT_BY_TRIGGERS if _exists(cursor, name)]
            with _without_structures(cursor, (*_TABLES, *kept)):
                for statements in (_FUNCTIONS, _PEOPLE, "ANALYZE people", _USES, "ANALYZE uses", _FILL):
                    cursor.execute(statements, values)
                for table in kept:
                    cursor.execute(_KEPT_BY_TRIGGERS[table])
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")


def _exists(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s)", (table,))
    return bool(cursor.fetchone()[0])


@contextmanager
def _without_structures(cursor: Any, tables: Sequence[str]) -> Iterator[None]:
    """Drop the keys and indexes, which would slow the writes down, and make them again at the end.

    In that time, triggers do nothing.
    """
    found: list[tuple[str, str]] = []
    for query in (_STRUCTURES, _INDEXES):
        cursor.execute(query, {"tables": tuple(tables)})
        found += cursor.fetchall()
    for drop, _ in found:
        cursor.execute(drop)
    for table in tables:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table in tables:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    for _, create in reversed(found):
        cursor.execute(create)
