"""Removal of secrets from every text that leaves the process: logs, error messages and reports.

It removes two kinds: the secrets that the process knows, in all forms in which a library may print them, and
all that looks like a secret anywhere, such as the credentials of an address or a token, at any length.

The process knows the secrets of its environment, and those that `hide_from_now_on` has received. A known
secret of fewer than four characters stays, because hiding it would hide parts of other words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "[secret]"

_SECRET_NAME = re.compile(
    r"(?:(?:SECRET|TOKEN|PASSWORD|PASSPHRASE|CREDENTIALS|KEY|KEY_ID)|(?:^|_)(?:PASS|AUTH)|_PWD)$",
    re.IGNORECASE,
)
"""Names of variables, and of parameters of a URL, with a secret value. `PWD` is the working directory."""
_CREDENTIALS = re.compile(r"([a-z][a-z0-9+.-]{0,20})://(.*)@", re.DOTALL | re.IGNORECASE)
"""From the scheme to the last @: an unescaped password can have an @ and a slash."""
_SCHEMES_WITH_TOKENS = ("http", "https")
"""Schemes whose user name alone can be a token."""
_ESCAPES = (quote, partial(quote, safe=""), quote_plus)
_SEPARATORS = re.compile(r"[/@:?#\[\]%\s&=+;,]")
_KEPT_TEXTS = 1024
"""Number of texts that stay redacted: log lines have the same words again and again."""
_MAX_KEPT_CHARACTERS = 100
_MIN_SECRET_CHARACTERS = 4
_MAX_WORD_CHARACTERS = 12
_MIN_PART_CHARACTERS = 6
"""Length from which a part of a password is hidden, because a library split the password at a separator."""

# A secret has any length, so no repetition of its characters is bounded. A search still takes time in
# proportion to the text: each repetition takes all that it can, gives nothing back, and begins once a word.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]{0,20})://([^\s\"'<>]*+)", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")
_PLACE = re.compile(r"(?:\[[^\]]*+\]|[^:]*+)(?::\d*+)?")
"""Host and port. Another authority has a password with a separator."""
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf|r8)_[A-Za-z0-9]{4,}+"
    r"|\b(?:Bearer|Key|Basic)\s++[A-Za-z0-9._~:+/=-]{8,}+"
    r"|(?<![A-Za-z0-9_-])((?:(?!eyJ)[A-Za-z0-9_-])*+)"
    r"eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{2,}+\.[A-Za-z0-9_-]*+"
)
_TOKEN_MARKS = ("hf_", "r8_", "Bearer", "Key", "Basic", "eyJ")
"""Beginnings of tokens."""


def hide_patterns(text: str) -> str:
    """Remove tokens, and the credentials, queries and fragments of addresses."""
    # Most texts have none of the marks, and each log line passes here several times.
    if "://" in text:
        text = _ADDRESS.sub(_without_secrets, text)
    if any(mark in text for mark in _TOKEN_MARKS):
        text = _TOKEN.sub(rf"\1{HIDDEN}", text)
    return text


def is_secret_name(name: str) -> bool:
    """Return whether a variable or parameter of this name has a secret value."""
    return _SECRET_NAME.search(name) is not None


def hide_from_now_on(secret: str) -> None:
    """Remove a secret that is not in the environment from all later texts of this process."""
    # Each call, also of another thread, only adds: a list may grow while it is read.
    _learned.extend(form for form in dict.fromkeys(_forms_of(secret)) if form not in _learned)


_learned: list[str] = []


class Redactor:
    """Removes the secrets that the process knows, and everything that looks like a secret."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the secrets.

        Args:
            environment: The variables of the process.
        """
        forms = {form for secret in _secrets_of(environment) for form in _forms_of(secret)}
        # A longer form first: a shorter one may be a part of it.
        ordered = sorted(forms, key=len, reverse=True)
        self._forms = tuple(ordered)
        self._known = re.compile("|".join(map(_pattern_of, ordered))) if ordered else None
        self._kept = lru_cache(_KEPT_TEXTS)(self._redact)

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        if len(text) > _MAX_KEPT_CHARACTERS:
            return self._redact(text, len(_learned))
        return self._kept(text, len(_learned))

    def _redact(self, text: str, _secrets: int) -> str:
        # Searching for each form takes a tenth of the time that the pattern of all forms takes.
        if self._known is not None and any(form in text for form in self._forms):
            text = self._known.sub(HIDDEN, text)
        for form in _learned:
            text = text.replace(form, HIDDEN)
        return hide_patterns(text)


def _without_secrets(found: re.Match[str]) -> str:
    """Return an address without credentials, query and fragment."""
    scheme, address = found.groups()
    head = _QUERY.split(address, maxsplit=1)[0]
    authority = head.partition("/")[0]
    # A path of the web may have an @. Another address has one only after its credentials.
    end = (authority if scheme.lower() in _SCHEMES_WITH_TOKENS else head).rfind("@")
    if end < 0 and not _PLACE.fullmatch(authority):
        end = address.rfind("@")
    return f"{scheme}://{_QUERY.split(address[end + 1 :], maxsplit=1)[0]}"


def _pattern_of(form: str) -> str:
    """Return the pattern of a form. The password `postgres` must not change the word `postgresql`."""
    is_word = form.isascii() and form.isalpha() and len(form) <= _MAX_WORD_CHARACTERS
    return rf"\b{form}\b" if is_word else re.escape(form)


def _secrets_of(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if is_secret_name(name):
            yield value.strip()
        elif "://" in value and (found := _CREDENTIALS.search(value)):
            user, colon, password = found[2].partition(":")
            if colon or found[1].lower() in _SCHEMES_WITH_TOKENS:
                yield password if colon else user
        if "://" in value and "?" in value:
            yield from _parameters_of(value)


def _parameters_of(url: str) -> Iterator[str]:
    try:
        query = urlsplit(url).query
    except ValueError:
        return
    for name, value in parse_qsl(query):
        if is_secret_name(name):
            yield value


def _forms_of(secret: str) -> Iterator[str]:
    """Yield a secret as it may appear: whole, in parts, decoded, and escaped for a URL, JSON or Python."""
    # A variable can have bytes that are not UTF-8; Python keeps them as surrogates.
    decoded = unquote(secret, errors="surrogateescape")
    parts = [part for whole in (secret, decoded) for part in _SEPARATORS.split(whole)]
    wholes = {secret, decoded, *(escape(decoded, errors="surrogateescape") for escape in _ESCAPES)}
    shown = {each for each in wholes if len(each) >= _MIN_SECRET_CHARACTERS}
    shown |= {each for each in parts if len(each) >= _MIN_PART_CHARACTERS}
    for each in shown:
        yield each
        yield json.dumps(each)[1:-1]
        yield json.dumps(each, ensure_ascii=False)[1:-1]
        # Python's repr of a longer text escapes an apostrophe if the text has both kinds of quotes.
        plain = repr(each.replace("'", ""))[1:-1] if "'" not in each else repr('"' + each)[2:-1]
        yield plain
        yield plain.replace("\\'", "'")
        yield repr(each)[1:-1]
