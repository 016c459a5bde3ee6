"""Any text as a setting is accepted in a form that the libraries understand, or refused by name."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from redis.asyncio import ConnectionPool

from avatar_creator_server.settings import Settings, SettingsError
from avatar_creator_server.shared.redis_options import connection_options

FIELDS = sorted(set(Settings.model_fields) - {"data_path", "upload_path"})

# Characters that have a meaning in URLs and addresses, and some that have none.
special = st.text(st.sampled_from("@/?#[]%:&=.,+~\\\"'<>{}|^ \t\n\x00ab1٣äж\ufeff\u200b\udcff"), max_size=20)
passwords = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


def load(**settings: str) -> Settings | SettingsError:
    """Read settings, as if the environment had no others."""
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()
    }
    try:
        return Settings.load(**(defaults | settings))
    except SettingsError as error:
        return error


@given(st.sampled_from(FIELDS), special | st.text(max_size=40))
def test_any_text_is_accepted_or_refused_by_name(name: str, text: str) -> None:
    settings = load(**{name: text})

    if isinstance(settings, SettingsError):
        assert str(settings).startswith(f"{name.upper()} ")
        assert "\n" not in str(settings)


@given(
    st.sampled_from(["redis://", "rediss://", "unix://", "REDIS://", "unix:///"]),
    special,
    st.sampled_from(["", "@host", "@[::1]:6379/2", "/run/x", "?family=0", "?db=1", "?ssl_cert_reqs=none"]),
)
@example("redis://", ":x", "?socket_timeout=x")
def test_an_accepted_url_of_redis_is_one_that_redis_py_can_connect_to(
    scheme: str, middle: str, end: str
) -> None:
    settings = load(redis_url=f"{scheme}{middle}{end}")

    if isinstance(settings, Settings) and settings.redis:
        pool = ConnectionPool.from_url(settings.redis, **connection_options(settings.redis))
        pool.connection_class(**pool.connection_kwargs)


@given(
    special,
    st.sampled_from(["", "@host/x", "@[::1]:5432/x", "/x?host=/run", "h/x?sslmode=require"]),
)
def test_an_accepted_url_of_postgresql_is_one_that_its_client_can_read(middle: str, end: str) -> None:
    settings = load(database_url=f"postgresql://{middle}{end}")

    if isinstance(settings, Settings) and not settings.embedded:
        assert parse_dsn(settings.database).keys() & {"dbname", "service"}


@given(passwords)
@example("p@s/s:w?o#r%d[1]")
def test_an_escaped_password_reaches_both_libraries(password: str) -> None:
    escaped = quote(password, safe="")
    settings = load(
        database_url=f"postgresql://u:{escaped}@host/x",
        redis_url=f"redis://:{escaped}@host",
        jwt_secret="x" * 32,
    )

    assert isinstance(settings, Settings), settings
    assert parse_dsn(settings.database)["password"] == password
    assert ConnectionPool.from_url(settings.redis).connection_kwargs["password"] == password


@given(passwords)
@example("secret@1")
@example("secret%41")
def test_an_unescaped_password_is_understood_or_refused_without_showing_it(password: str) -> None:
    for name, url in (
        ("redis_url", f"redis://:{password}@host"),
        ("database_url", f"postgresql://u:{password}@h/x"),
    ):
        settings = load(**{name: url})

        if isinstance(settings, SettingsError):
            assert str(settings).startswith(f"{name.upper()} has ")
            assert len(password) < 8 or password not in str(settings)
        elif name == "redis_url" and "%" not in password:
            assert ConnectionPool.from_url(settings.redis).connection_kwargs["password"] == password
        elif name == "database_url" and "%" not in password:
            assert parse_dsn(settings.database)["password"] == password


@pytest.mark.parametrize("password", ["p@ss", "p/ss", "p?ss", "p#ss", "p[ss", "p]ss", "p%ss", "p ss"])
def test_the_message_about_a_password_says_how_to_write_it(password: str) -> None:
    for name, scheme in (("redis_url", "redis"), ("database_url", "postgresql")):
        refused = load(**{name: f"{scheme}://user:{password}@host/1"})

        assert isinstance(refused, SettingsError)
        assert "in its user name or password" in str(refused)
        assert "write @ as %40" in str(refused)


def test_a_password_in_parts_is_escaped() -> None:
    settings = load(redis_host="::1", redis_password="p@s/s:w?o#r%d[")

    assert isinstance(settings, Settings)
    options = ConnectionPool.from_url(settings.redis).connection_kwargs
    assert (options["host"], options["port"], options["password"]) == ("::1", 6379, "p@s/s:w?o#r%d[")
