"""A deny list: words and phrases that a request must not contain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from avatar_creator_server.settings import SettingsError

_MAX_TERM_CHARACTERS = 100
_MIN_SPELLED_LETTERS = 3

_BLANK = " "
_PUNCTUATION = "|"

# Invisible characters (Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt), and marks that
# NFKC cannot compose with their letters: they strike letters through, or pile up on them.
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
# Thai, Lao, Burmese, Khmer, Chinese and Japanese have no blanks between words, so each character is a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NOT_WORD = re.compile(r"[\W_]")
_WORD_AND_GAP = re.compile(r"([^ |]+)([ |]*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")

_Trie: TypeAlias = "dict[str, _Trie]"
_END = ""
"""Key of a node at which a term ends. It cannot be a word, because no word is empty."""


class DenyList:
    """Terms of one or more words that a text must not contain.

    A term is found as whole words, in any case and width (NFKC): `ass` is not in `class`. Blanks, hyphens or
    similar characters may separate its words. Invisible characters do not hide a term. Blanks or dots between
    the letters do not hide a word of three or more letters. In scripts without blanks, a term is found
    anywhere. Words with other accents, or with letters and digits that only look alike, are other words.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        """Compile the terms.

        Raises:
            ValueError: A term has no letter and no digit, or more than 100 characters.
        """
        self._terms: _Trie = {}
        self._single_words: set[str] = set()
        self._spelled_lengths: set[int] = set()
        """Lengths of the single words that are also found when their letters are separated."""
        for term in terms:
            self._add(term)

    @classmethod
    def read(cls, path: Path) -> DenyList:
        """Read a UTF-8 text file with one term in each line. Blank lines and `#` comments are ignored.

        Raises:
            SettingsError: The file cannot be read, or a line is not a valid term.
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
        """Return the first denied term in a text, in lower case with single blanks; None if there is none."""
        for words in _clauses(text):
            found = self._phrase_in(words) or self._spelled_word_in(words)
            if found:
                return found
        return None

    def _add(self, term: str) -> None:
        if len(term) > _MAX_TERM_CHARACTERS:
            raise ValueError(f"has {len(term):,} characters, at most {_MAX_TERM_CHARACTERS} are allowed")
        words = [word for clause in _clauses(term) for word in clause]
        if not words:
            raise ValueError("has no letter and no digit")
        node = self._terms
        for word in words:
            node = node.setdefault(word, {})
        node[_END] = {}
        if len(words) == 1:
            self._single_words.add(words[0])
            if len(words[0]) >= _MIN_SPELLED_LETTERS:
                self._spelled_lengths.add(len(words[0]))

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
            for length in self._spelled_lengths:
                for start in range(len(letters) - length + 1):
                    if letters[start : start + length] in self._single_words:
                        return letters[start : start + length]
        return None


def _clauses(text: str) -> Iterator[list[str]]:
    """Yield the folded words of each clause of a text."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _IGNORED.sub("", folded)
    folded = _NOT_WORD.sub(_separator, folded)
    folded = _UNSPACED.sub(r" \g<0> ", folded)
    words: list[str] = []
    for word, gap in _WORD_AND_GAP.findall(folded):
        words.append(word)
        # "hot-teen" contains the phrase "hot teen", and "It is hot, teen boys swim" does not.
        if _BLANK in gap and _PUNCTUATION in gap:
            yield words
            words = []
    if words:
        yield words


def _separator(character: re.Match[str]) -> str:
    if character[0].isspace():
        return _BLANK
    # `re` does not count, for example, a vowel sign of Hindi as a letter, but it is part of its word.
    return character[0] if unicodedata.category(character[0]).startswith("M") else _PUNCTUATION
