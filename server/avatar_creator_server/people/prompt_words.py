"""Reading the words of a prompt for the drawing of `sketch`, which has no model that reads a prompt.

A word never replaces a given attribute. `prompt_vocabulary` has the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from avatar_creator_server.people.person import Attributes
from avatar_creator_server.people.prompt_vocabulary import (
    AND,
    FILLERS,
    HAIR,
    LIKELY_GENDER,
    NEGATIONS,
    NEW_THOUGHTS,
    ONLY,
    OR,
    OTHER_THINGS,
    PEOPLE,
    PLACES,
    PRONOUNS,
    VERBS,
    WORDS,
    YOUNG_AND_OLD,
    Meaning,
    Phrase,
)
from avatar_creator_server.people.vocabulary import age_range_of

_SHOWN_WORDS = 8
_SHOWN_CHARACTERS = 30
_NEAR = 3
"""Number of words from the person within which `old` describes the person."""
_NEGATED = {"glasses": False, "earrings": False, "beard": "", "headwear": ""}
"""Meaning of a negated part. Other negated words have none: not long may be short or shoulder-length."""

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.;:!?()\[\]\n]")
_YEARS = re.compile(
    r"\b(?:(?:aged?|berusia|usia|berumur|umur)\s+(?P<after>\d{1,3})(?:\s*(?:years?\s+old|years?|tahun|thn))?"
    r"|(?P<before>\d{1,3})[\s-]*(?:years?[\s-]+old|years?[\s-]of[\s-]age|yo|tahun|thn))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PromptReading:
    """The look of a person after the words of a prompt were read."""

    attributes: Attributes
    """The given attributes, and those that the prompt names."""
    adult: bool
    """True if the prompt names a grown-up person, such as a woman, and no age is known."""
    glasses: bool | None
    """None if the prompt does not mention glasses."""
    earrings: bool | None
    """None if the prompt does not mention earrings."""
    beard: str | None
    """`full`, `short`, `moustache`, or empty for no beard; None if the prompt does not mention one."""
    read: tuple[str, ...]
    """Words that the drawing shows, as the prompt writes them."""
    unread: tuple[str, ...]
    """Other words, except those without a meaning of their own, such as `with`."""

    def describe(self) -> str:
        """Return the words that were read and those that were not, as a part of a sentence."""
        read = f"it uses {_listed(self.read)}" if self.read else "it uses no word of this prompt"
        return f"{read} and ignores {_listed(self.unread)}" if self.unread else read


def read_prompt(prompt: str, given: Attributes) -> PromptReading:
    """Read the words of a prompt where an attribute is not given.

    Args:
        prompt: The caller's own words.
        given: The given attributes, with the age range of the persona's age.
    """
    return _Reader(prompt, given, _tokens_of(prompt)).read()


def _listed(words: tuple[str, ...]) -> str:
    shown = [
        f"“{word}”" if len(word) <= _SHOWN_CHARACTERS else f"“{word[:_SHOWN_CHARACTERS]}…”" for word in words
    ]
    rest = len(shown) - _SHOWN_WORDS
    return ", ".join(shown[:_SHOWN_WORDS]) + (f" and {rest:,} more" if rest > 0 else "")


@dataclass(slots=True)
class _Token:
    """One word of the prompt."""

    start: int
    end: int
    word: str
    """Word in lower case."""
    first_of_sentence: bool
    after_comma: bool
    negated: bool = False
    negated_directly: bool = False
    """True if only words without meaning stand between the negation and the word."""
    decided: bool = False
    """True if the word is a part of a phrase that was read or passed over."""

    @property
    def is_filler(self) -> bool:
        """True if the word has no meaning of its own."""
        return self.word in FILLERS or self.is_negation

    @property
    def is_negation(self) -> bool:
        """True if the word negates what follows."""
        return self.word in NEGATIONS or self.word.endswith("n't")

    @property
    def is_verb(self) -> bool:
        """True if the word begins a new statement, which an earlier negation does not reach."""
        # Indonesian says `berhijab` for `wearing a hijab`.
        described = (self.word,) in WORDS or self.word in PLACES
        return self.word in VERBS or (self.word.startswith("ber") and described)


def _tokens_of(prompt: str) -> list[_Token]:
    tokens, last = [], 0
    for found in _TOKEN.finditer(prompt):
        gap = prompt[last : found.start()]
        word = found[0].casefold().replace("’", "'")
        ends = _SENTENCE_END.search(gap) is not None
        tokens.append(_Token(found.start(), found.end(), word, ends, "," in gap))
        last = found.end()
    return tokens


@dataclass(slots=True)
class _Reader:
    """Reads one prompt, from the surest words to the least sure."""

    prompt: str
    given: Attributes
    tokens: list[_Token]
    found: dict[str, Any] = field(default_factory=dict)
    read_spans: list[tuple[int, int]] = field(default_factory=list)
    """First token, and token after the last, of each phrase that was read."""
    unread_spans: list[tuple[int, int]] = field(default_factory=list)

    def read(self) -> PromptReading:
        self._mark_negations()
        for phrase in OTHER_THINGS:
            for start in range(len(self.tokens)):
                if self._words(start, start + len(phrase)) == phrase:
                    self._decide(start, start + len(phrase), read=False)
        self._read_years()
        self._read_parts()
        for start, end, meaning in self._phrases_of(WORDS):
            self._apply(meaning, start, end, negated=self.tokens[start].negated)
        person = self._read_person()
        if person is not None:
            self._read_young_and_old(*person)
        self._read_gender_between_the_lines()
        known = {
            name: value
            for name, value in self.found.items()
            if name in Attributes.__dataclass_fields__ and not getattr(self.given, name)
        }
        attributes = replace(self.given, **known)
        return PromptReading(
            attributes=attributes,
            adult="adult" in self.found and not attributes.age_range,
            glasses=self.found.get("glasses"),
            earrings=self.found.get("earrings"),
            beard=self.found.get("beard"),
            read=self._texts(self.read_spans),
            unread=self._texts(self.unread_spans + self._undecided()),
        )

    def _mark_negations(self) -> None:
        """Mark the words that a negation reaches: up to a new statement, or the end of the clause."""
        scope = content = article_ends = False
        for at, token in enumerate(self.tokens):
            following = self.tokens[at + 1].word if at + 1 < len(self.tokens) else ""
            if token.first_of_sentence or (token.after_comma and not self._is_list(at)):
                scope = False
            if token.is_negation and following not in ONLY:
                scope, content, article_ends = True, False, token.word == "no"
                continue
            if token.word in NEW_THOUGHTS or (content and token.is_verb):
                scope = False
            if article_ends and token.word in AND and following in ("a", "an"):
                scope = False
            token.negated = scope
            token.negated_directly = scope and not content
            content = content or not token.is_filler

    def _is_list(self, at: int) -> bool:
        """Return whether the comma before a token separates alternatives: no glasses, beard or hat."""
        for token in self.tokens[at:]:
            if token.word in OR:
                return True
            if token.first_of_sentence or token.word in NEW_THOUGHTS or token.is_verb:
                return False
        return False

    def _read_years(self) -> None:
        for years in _YEARS.finditer(self.prompt):
            age = int(years["after"] or years["before"])
            inside = [at for at, each in enumerate(self.tokens) if years.start() <= each.start < years.end()]
            if inside and 0 < age <= 120 and not self.tokens[inside[0]].negated:
                self._apply({"age_range": age_range_of(age)}, inside[0], inside[-1] + 1)

    def _read_parts(self) -> None:
        """Read the words next to hair, eyes and skin. The last one of a kind counts: long wavy hair."""
        for at, token in enumerate(self.tokens):
            if token.word not in PLACES or token.decided or self._words(at - 1, at + 1) in WORDS:
                continue
            table, side = PLACES[token.word]
            phrases = self._descriptions(at, table, side)
            for start, end, meaning in reversed(phrases):
                self._apply(meaning, start, end, negated=self.tokens[start].negated)
            if any(span[0] == start for span in self.read_spans for start, _, _ in phrases):
                self._decide(at, at + 1, read=True)

    def _descriptions(
        self, at: int, table: Mapping[Phrase, Meaning], side: int
    ) -> list[tuple[int, int, Meaning]]:
        """Return the phrases of a table that stand without a gap before (-1) or after (1) a token."""
        found: list[tuple[int, int, Meaning]] = []
        edge = at if side < 0 else at + 1
        while 0 < edge < len(self.tokens):
            for length in (2, 1):
                start, end = (edge - length, edge) if side < 0 else (edge, edge + length)
                sentence_goes_on = not any(
                    each.first_of_sentence for each in self.tokens[min(start, at) + 1 : max(end, at + 1)]
                )
                if self._words(start, end) in table and sentence_goes_on:
                    found.append((start, end, table[self._words(start, end)]))
                    edge = start if side < 0 else end
                    break
            else:
                neighbor = self.tokens[edge - 1 if side < 0 else edge].word
                if neighbor not in AND and not (side > 0 and neighbor in ("yang", "berwarna", "warna")):
                    break
                edge += side
        return sorted(found, key=lambda each: each[0])

    def _read_person(self) -> tuple[int, int] | None:
        """Read the first noun for a person, and one directly after it: `anak perempuan`."""
        person: tuple[int, int] | None = None
        for start, end, meaning in self._phrases_of(PEOPLE):
            if self.tokens[start].negated_directly or (person is not None and start != person[1]):
                self._decide(start, end, read=False)
            else:
                person = (person[0] if person else start, end)
                self._apply(meaning, start, end)
        return person

    def _read_young_and_old(self, start: int, end: int) -> None:
        for at, token in enumerate(self.tokens):
            if token.word not in YOUNG_AND_OLD or token.decided or token.negated:
                continue
            age_range, side = YOUNG_AND_OLD[token.word]
            between = self.tokens[at + 1 : start] if side > 0 else self.tokens[end:at]
            in_order = at < start if side > 0 else at >= end
            separated = any(each.is_filler and each.word != "yang" for each in between)
            if in_order and len(between) < _NEAR and not separated:
                self._apply({"age_range": age_range}, at, at + 1)

    def _read_gender_between_the_lines(self) -> None:
        """Take the gender from a pronoun, or else from what mostly women or mostly men wear."""
        if self.given.gender or "gender" in self.found:
            return
        for at, token in enumerate(self.tokens):
            if token.word in PRONOUNS:
                self._apply({"gender": PRONOUNS[token.word]}, at, at + 1)
                return
        headwear = self.given.headwear or self.found.get("headwear", "")
        likely = "male" if self.found.get("beard") else LIKELY_GENDER.get(headwear, "")
        if likely:
            self.found["gender"] = likely

    def _apply(self, meaning: Meaning, start: int, end: int, *, negated: bool = False) -> None:
        """Note the meaning of a phrase, unless an attribute or an earlier phrase says something else."""
        if any(each.decided for each in self.tokens[start:end]):
            return
        if negated:
            meaning = {name: _NEGATED[name] for name, value in meaning.items() if value and name in _NEGATED}
            start = self._negation_before(start)
        read = False
        for name, value in meaning.items():
            settled = getattr(self.given, name, "") or self.found.get(name, "")
            if settled == "":
                self.found[name] = value
            read = read or (name != "adult" and settled in ("", value))
        self._decide(start, end, read=read)

    def _negation_before(self, at: int) -> int:
        """Return the place of the negation directly before a token, or else of the token itself."""
        first = at
        while self.tokens[at].negated_directly and first > 0 and not self.tokens[first].is_negation:
            first -= 1
        return first

    def _decide(self, start: int, end: int, *, read: bool) -> None:
        for token in self.tokens[start:end]:
            token.decided = True
        (self.read_spans if read else self.unread_spans).append((start, end))

    def _phrases_of(self, table: Mapping[Phrase, Meaning]) -> Iterator[tuple[int, int, Meaning]]:
        """Yield the longest phrases of a table that are not decided, in their order."""
        longest = max(map(len, table))
        at = 0
        while at < len(self.tokens):
            for end in range(min(at + longest, len(self.tokens)), at, -1):
                words = self._words(at, end)
                if words in table and not any(each.decided for each in self.tokens[at:end]):
                    yield at, end, table[words]
                    at = end
                    break
            else:
                at += 1

    def _undecided(self) -> list[tuple[int, int]]:
        has_hair = any(name in self.found for name in ("hair_style", "hair_color"))
        return [
            (at, at + 1)
            for at, each in enumerate(self.tokens)
            if not each.decided
            and not each.is_filler
            and not (has_hair and PLACES.get(each.word, (None, 0))[0] is HAIR)
        ]

    def _words(self, start: int, end: int) -> Phrase:
        """Return the words from one token to another; empty if the prompt is shorter."""
        if start < 0 or end > len(self.tokens):
            return ()
        return tuple(each.word for each in self.tokens[start:end])

    def _texts(self, spans: list[tuple[int, int]]) -> tuple[str, ...]:
        """Return phrases in their order, as the prompt writes them and each once."""
        texts = (
            self.prompt[self.tokens[start].start : self.tokens[end - 1].end] for start, end in sorted(spans)
        )
        return tuple(dict.fromkeys(" ".join(text.split()) for text in texts))
