"""A table of the words and attributes of avatars for searches, which triggers keep up to date.

The triggers belong to the database, so processes of the previous version write the table too. It is a table
of its own, because PostgreSQL would write all entries of a row in the large index again at every use of an
avatar. Migration 0017 adds the existing avatars on PostgreSQL.

PostgreSQL's index holds numbers, which it compares much faster than texts: one for each piece of the text of
one, two or three letters, and one for each attribute, of all users, of the avatar's user and of its project.
So the words and attributes of a search are numbers too, and the index finds the avatars with all of them.
SQLite has an index of pieces of three letters, and compares attributes.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

_TRAITS = ("source_type", "gender", "age_range", "style", "ethnicity_folded")
_COLUMNS = ("user_id", "project_id", *_TRAITS, "search_text")
COLUMNS = ", ".join(_COLUMNS)


def _of(row: str) -> str:
    return ", ".join(f"{row}.{column}" for column in _COLUMNS)


# The letters of a piece have 21 bits each. All numbers of attributes are negative. Not MD5, which OpenSSL
# refuses on a machine in FIPS mode.
_TRAIT_TOKEN = (
    "('x' || left(encode(sha256(convert_to(scope || '/' || trait, 'UTF8')), 'hex'), 16))::BIT(64)::BIGINT"
    " | (-9223372036854775808)"
)

_POSTGRESQL = (
    f"""
    CREATE TABLE avatar_search (
        avatar_id TEXT NOT NULL PRIMARY KEY REFERENCES avatars (id) ON DELETE CASCADE,
        {", ".join(f"{column} TEXT NOT NULL" for column in _COLUMNS)}
    )
    """,
    f"""
    CREATE FUNCTION avatar_search_tokens({", ".join(f"{column} TEXT" for column in _COLUMNS)})
    RETURNS BIGINT[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        tokens BIGINT[] := ARRAY[]::BIGINT[];
        size INT := 0;
        scope TEXT;
        trait TEXT;
        letter TEXT;
        before_previous BIGINT := 0;
        previous BIGINT := 0;
        current BIGINT;
    BEGIN
        FOREACH scope IN ARRAY ARRAY['', 'user_id=' || user_id, 'project_id=' || project_id] LOOP
            FOREACH trait IN ARRAY ARRAY['', {", ".join(f"'{trait}=' || {trait}" for trait in _TRAITS)}] LOOP
                size := size + 1;
                tokens[size] := {_TRAIT_TOKEN};
            END LOOP;
        END LOOP;
        FOREACH letter IN ARRAY string_to_array(lower(search_text), NULL) LOOP
            current := ascii(letter);
            tokens[size + 1] := current;
            tokens[size + 2] := (previous << 21) | current;
            tokens[size + 3] := (before_previous << 42) | (previous << 21) | current;
            size := size + 3;
            before_previous := previous;
            previous := current;
        END LOOP;
        RETURN tokens;
    END $$
    """,
    f"""
    CREATE FUNCTION avatar_search_wanted(scope TEXT, traits TEXT[], words TEXT[])
    RETURNS BIGINT[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        tokens BIGINT[] := ARRAY[]::BIGINT[];
        trait TEXT;
        word TEXT;
        letters TEXT[];
        size INT;
        token BIGINT;
    BEGIN
        FOREACH trait IN ARRAY traits LOOP
            tokens := tokens || ({_TRAIT_TOKEN});
        END LOOP;
        FOREACH word IN ARRAY words LOOP
            letters := string_to_array(lower(word), NULL);
            size := least(3, cardinality(letters));
            FOR start IN 1 .. cardinality(letters) - size + 1 LOOP
                token := 0;
                FOR place IN start .. start + size - 1 LOOP
                    token := (token << 21) | ascii(letters[place]);
                END LOOP;
                tokens := tokens || token;
            END LOOP;
        END LOOP;
        RETURN tokens;
    END $$
    """,
    f"""
    CREATE FUNCTION avatar_search_write() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO avatar_search AS stored (avatar_id, {COLUMNS}) VALUES (NEW.id, {_of("NEW")})
        ON CONFLICT (avatar_id) DO UPDATE SET ({COLUMNS}) = ROW({_of("EXCLUDED")})
        WHERE ({_of("stored")}) IS DISTINCT FROM ({_of("EXCLUDED")});
        RETURN NULL;
    END $$
    """,
    f"""
    CREATE TRIGGER avatar_search_write AFTER INSERT OR UPDATE OF {COLUMNS} ON avatars
    FOR EACH ROW EXECUTE FUNCTION avatar_search_write()
    """,
)

# SQLite may give the rows of `avatars` other numbers, and the index of words needs a number that stays.
_SQLITE = (
    f"""
    CREATE TABLE avatar_search (
        number INTEGER NOT NULL PRIMARY KEY,
        avatar_id TEXT NOT NULL UNIQUE,
        {", ".join(f"{column} TEXT NOT NULL" for column in _COLUMNS)}
    )
    """,
    *(
        f"CREATE INDEX avatar_search_{owner}_{trait} ON avatar_search ({trait}, {owner}_id)"
        for owner in ("user", "project")
        for trait in _TRAITS
    ),
    """
    CREATE VIRTUAL TABLE avatar_search_words USING fts5(
        search_text, content = 'avatar_search', content_rowid = 'number', tokenize = 'trigram', columnsize = 0
    )
    """,
    """
    CREATE TRIGGER avatar_search_words_insert AFTER INSERT ON avatar_search BEGIN
        INSERT INTO avatar_search_words (rowid, search_text) VALUES (NEW.number, NEW.search_text);
    END
    """,
    """
    CREATE TRIGGER avatar_search_words_update AFTER UPDATE OF search_text ON avatar_search
    WHEN OLD.search_text != NEW.search_text BEGIN
        INSERT INTO avatar_search_words (avatar_search_words, rowid, search_text)
        VALUES ('delete', OLD.number, OLD.search_text);
        INSERT INTO avatar_search_words (rowid, search_text) VALUES (NEW.number, NEW.search_text);
    END
    """,
    """
    CREATE TRIGGER avatar_search_words_delete AFTER DELETE ON avatar_search BEGIN
        INSERT INTO avatar_search_words (avatar_search_words, rowid, search_text)
        VALUES ('delete', OLD.number, OLD.search_text);
    END
    """,
    f"""
    CREATE TRIGGER avatar_search_insert AFTER INSERT ON avatars BEGIN
        INSERT INTO avatar_search (avatar_id, {COLUMNS}) VALUES (NEW.id, {_of("NEW")});
    END
    """,
    f"""
    CREATE TRIGGER avatar_search_update AFTER UPDATE OF {COLUMNS} ON avatars BEGIN
        UPDATE avatar_search SET ({COLUMNS}) = ({_of("NEW")}) WHERE avatar_id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER avatar_search_delete AFTER DELETE ON avatars BEGIN
        DELETE FROM avatar_search WHERE avatar_id = OLD.id;
    END
    """,
    f"INSERT INTO avatar_search (avatar_id, {COLUMNS}) SELECT id, {COLUMNS} FROM avatars ORDER BY id",
)


def up(migrator: Any, db: Database) -> None:
    """Create the table, its functions and its triggers."""
    for statement in _POSTGRESQL if isinstance(db, PostgresqlDatabase) else _SQLITE:
        db.execute_sql(statement)
