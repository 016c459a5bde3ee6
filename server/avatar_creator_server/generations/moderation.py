"""Moderation: words that are refused before anything is queued.

Two is_active, each only where the operator has set it up: a deny-list in a file, and a moderation service that
is asked. `options.negative_prompt` is screened by neither: it names what is to be kept out of the picture,
and an operator's denied words belong there.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, TypeAlias

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from avatar_creator_server.errors import FieldViolation, InvalidArgumentError, UnavailableError
from avatar_creator_server.settings import SettingsError

log = structlog.get_logger()

_MOST_TERM_CHARACTERS = 100
_LEAST_SPELLED_LETTERS = 3
_MOST_CATEGORIES_TOLD = 10

_BLANK = " "
_PUNCTUATION = "|"

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, which nobody sees, and the combining
# marks that are left when NFKC has composed all it can: they strike letters through or pile up on them.
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
# Thai and Lao, Burmese, Khmer, Chinese and Japanese: written without blanks, so each character is a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NOT_WORD = re.compile(r"[\W_]")
_WORD_AND_GAP = re.compile(r"([^ |]+)([ |]*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")

_Trie: TypeAlias = "dict[str, _Trie]"
_END = ""
"""Key of a node at which a term ends: no word is empty."""


class DenyList:
    """Terms of one or more words that texts may not have.

    Terms are found whatever their case and width (NFKC), as whole words: `ass` is not in `class`. Between
    several words any blanks may be, or a hyphen and the like. Characters nobody sees change nothing, nor do
    blanks or dots between the letters of a word of three letters or more. In scripts written without blanks
    a term is found anywhere. Other forms of a word, with other accents or with letters and digits that only
    look alike, are other words.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        """Compile the terms.

        Raises:
            ValueError: a term has neither letter nor digit, or more than 100 characters.
        """
        self._terms: _Trie = {}
        self._single_words: set[str] = set()
        self._lengths: set[int] = set()
        """Those of single words that may be spelled out."""
        for term in terms:
            self._add(term)

    @classmethod
    def read(cls, path: Path) -> DenyList:
        """Read a text file in UTF-8 with a term a line; blank lines and `#` comments are left out.

        Raises:
            SettingsError: it cannot be read, or has a line that cannot be a term.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except OSError as error:
            raise SettingsError(f"PROMPT_DENY_LIST_FILE {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"PROMPT_DENY_LIST_FILE {path} is not UTF-8 at byte {error.start}") from error
        deny_list = cls(())
        for number, line in enumerate(lines, start=1):
            term = _COMMENT.sub("", line).strip()
            try:
                if term:
                    deny_list._add(term)
            except ValueError as error:
                raise SettingsError(f"PROMPT_DENY_LIST_FILE {path}, line {number}: {error}") from error
        return deny_list

    def first_in(self, text: str) -> str | None:
        """The first term in a text, as the text has it but for case, width and blanks; None without any."""
        for words in _clauses(text):
            found = self._phrase_in(words) or self._spelled_word_in(words)
            if found:
                return found
        return None

    def _add(self, term: str) -> None:
        if len(term) > _MOST_TERM_CHARACTERS:
            raise ValueError(f"has {len(term):,} characters, at most {_MOST_TERM_CHARACTERS} are allowed")
        words = [word for clause in _clauses(term) for word in clause]
        if not words:
            raise ValueError("has neither letter nor digit")
        node = self._terms
        for word in words:
            node = node.setdefault(word, {})
        node[_END] = {}
        if len(words) == 1:
            self._single_words.add(words[0])
            if len(words[0]) >= _LEAST_SPELLED_LETTERS:
                self._lengths.add(len(words[0]))

    def _phrase_in(self, words: list[str]) -> str | None:
        for start in range(len(words)):
            node = self._terms
            for end in range(start, len(words)):
                following = node.get(words[end])
                if following is None:
                    break
                if _END in following:
                    return " ".join(words[start : end + 1])
                node = following
        return None

    def _spelled_word_in(self, words: list[str]) -> str | None:
        for is_letter, run in groupby(words, key=lambda word: len(word) == 1):
            if not is_letter:
                continue
            letters = "".join(run)
            for length in self._lengths:
                for start in range(len(letters) - length + 1):
                    if letters[start : start + length] in self._single_words:
                        return letters[start : start + length]
        return None


def _clauses(text: str) -> Iterator[list[str]]:
    """The words of a text, folded, clause by clause."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _IGNORED.sub("", folded)
    folded = _NOT_WORD.sub(_separator, folded)
    folded = _UNSPACED.sub(r" \g<0> ", folded)
    words: list[str] = []
    for word, gap in _WORD_AND_GAP.findall(folded):
        words.append(word)
        # "It is hot, teen boys swim" does not have the words "hot teen", and "hot-teen" has.
        if _BLANK in gap and _PUNCTUATION in gap:
            yield words
            words = []
    if words:
        yield words


def _separator(character: re.Match[str]) -> str:
    if character[0].isspace():
        return _BLANK
    # A vowel sign of Hindi, for example, is no letter to `re`, and part of the word all the same.
    return character[0] if unicodedata.category(character[0]).startswith("M") else _PUNCTUATION


@dataclass(frozen=True, slots=True)
class ModerationLimits:
    """What a moderation service is allowed."""

    seconds: float = 3.0
    """For the whole answer, a second attempt included."""
    answer_bytes: int = 256 * 1024
    """Longest answer. OpenAI's has 2 KiB."""
    retry_after: float = 5.0
    """Seconds after which callers are told to try again when there was no answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a moderation service says of a text."""

    flagged: bool
    categories: tuple[str, ...]
    """Names of the categories it was flagged for, sorted, at most 10; may be empty."""


class _Result(BaseModel):
    model_config = ConfigDict(strict=True)

    flagged: bool
    # Absent from the judgement of older models are `illicit` and `illicit/violent`: they are null.
    categories: dict[Annotated[str, StringConstraints(max_length=60)], bool | None]


class _Answer(BaseModel):
    results: list[_Result] = Field(min_length=1)


class ModerationService:
    """A service that judges texts, of the shape of OpenAI's Moderations API.

    https://developers.openai.com/api/reference/resources/moderations: `POST {"input": text}` is answered with
    `{"results": [{"flagged": true, "categories": {"violence": true, …}}]}` and more that is not read. The key
    goes as `Authorization: Bearer`.
    """

    def __init__(self, url: str, api_key: SecretStr, limits: ModerationLimits | None = None) -> None:
        """Be ready to ask; nothing is connected yet.

        Args:
            url: what is posted to, for example `https://api.openai.com/v1/moderations`.
            api_key: may be empty.
            limits: by default those of `ModerationLimits`.

        Raises:
            SettingsError: the URL or the key cannot be one; the key is not quoted.
        """
        key = api_key.get_secret_value()
        if not _is_web_address(url):
            raise SettingsError("MODERATION_URL must be the whole URL to post to, and begin with https://")
        if key and not re.fullmatch(r"[!-~]+", key):
            raise SettingsError("MODERATION_API_KEY has blanks, line breaks or other characters no key has")
        self._url = url
        self._limits = limits or ModerationLimits()
        # `asyncio.timeout` bounds the whole; httpx's own timeouts bound each step, so a trickle would go on.
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=None
        )

    async def judge(self, text: str) -> Verdict:
        """Ask about a text.

        Raises:
            UnavailableError: there was no answer, or none of the documented shape.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._post_twice(text)
            results = _Answer.model_validate_json(body).results
        # The causes are left out: they quote what was sent and answered.
        except TimeoutError:
            raise self._unavailable("no answer in time") from None
        except httpx.HTTPError as error:
            raise self._unavailable(type(error).__name__) from None
        except ValidationError:
            raise self._unavailable("not the documented answer") from None
        flagged_for = {name for result in results for name, holds in result.categories.items() if holds}
        return Verdict(
            flagged=any(result.flagged for result in results),
            categories=tuple(sorted(flagged_for)[:_MOST_CATEGORIES_TOLD]),
        )

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _post_twice(self, text: str) -> bytes:
        try:
            return await self._post(text)
        except httpx.TransportError:
            # A connection kept from before may have been closed by the other side in the meantime.
            return await self._post(text)

    async def _post(self, text: str) -> bytes:
        body = bytearray()
        async with self._http.stream("POST", self._url, json={"input": text}) as response:
            if response.status_code != httpx.codes.OK:
                raise self._unavailable(f"status {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._limits.answer_bytes:
                    raise self._unavailable("too long an answer")
        return bytes(body)

    def _unavailable(self, cause: str) -> UnavailableError:
        log.warning("moderation_unavailable", cause=cause)
        return UnavailableError(
            "MODERATION_UNAVAILABLE",
            "the moderation service gives no judgement, so nothing was created",
            retry_after=self._limits.retry_after,
        )


class Moderation:
    """The is_active of one service. Without any it lets everything pass at once."""

    def __init__(self, deny_list: DenyList | None, moderation: ModerationService | None) -> None:
        self._deny_list = deny_list
        self._moderation = moderation

    @classmethod
    def of(
        cls, deny_list_file: Path | None, moderation_url: str, moderation_api_key: SecretStr
    ) -> Moderation:
        """The is_active that these settings make; None and empty make none.

        Raises:
            SettingsError: they make none: an unusable file, URL or key.
        """
        if moderation_api_key.get_secret_value() and not moderation_url:
            raise SettingsError(
                "MODERATION_API_KEY is set but MODERATION_URL is not, so nobody would be asked: "
                "set MODERATION_URL, or unset MODERATION_API_KEY"
            )
        return cls(
            DenyList.read(deny_list_file) if deny_list_file else None,
            ModerationService(moderation_url, moderation_api_key) if moderation_url else None,
        )

    @property
    def is_active(self) -> bool:
        """Whether there is any screen."""
        return self._deny_list is not None or self._moderation is not None

    def refuse_denied(self, texts: Mapping[str, str]) -> None:
        """Refuse words of the deny-list.

        Args:
            texts: the caller's own texts, by the path of their field in the request.

        Raises:
            InvalidArgumentError: names each field that has a denied term, and the first that it has.
        """
        if self._deny_list is None:
            return
        denied = {field: self._deny_list.first_in(text) for field, text in texts.items()}
        violations = [
            FieldViolation(field, f"has “{term}”, which is on the deny-list of this service")
            for field, term in denied.items()
            if term is not None
        ]
        if violations:
            raise _refusal(violations, source="deny-list")

    async def refuse_flagged(self, text: str) -> None:
        """Refuse what the moderation service flags. A text of blanks only is not sent.

        Raises:
            InvalidArgumentError: it was flagged; names `prompt` and the categories.
            UnavailableError: the service gave no judgement.
        """
        if self._moderation is None or not text.strip():
            return
        verdict = await self._moderation.judge(text)
        if verdict.flagged:
            reasons = f" as {', '.join(verdict.categories)}" if verdict.categories else ""
            description = f"was flagged by the moderation service{reasons}"
            raise _refusal([FieldViolation("prompt", description)], source="moderation")

    async def close(self) -> None:
        """Disconnect from the moderation service."""
        if self._moderation is not None:
            await self._moderation.close()


def _refusal(violations: list[FieldViolation], *, source: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "PROMPT_REFUSED",
        "; ".join(f"{violation.field}: {violation.description}" for violation in violations),
        metadata={"source": source},
        violations=violations,
    )


def _is_web_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("https", "http") and bool(parsed.host)
