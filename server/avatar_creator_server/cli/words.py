"""Options that take a word of an enum: parsed, refused with the allowed words, and completed by the shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import typer

from avatar_creator.enums import Word


def word_option(
    kind: type[Word],
    *names: str,
    help: str,
    metavar: str = "WORD",
    words: Sequence[Word] | None = None,
    **options: Any,
) -> Any:
    """Return an option whose value is a word of the enum. Its case and hyphens do not matter.

    Args:
        kind: The enum.
        names: Names of the option; none means that of the parameter.
        help: Help text. The words follow it, unless they are too many.
        metavar: Name of the value in the help.
        words: The allowed members of the enum; all if None.
        options: Other arguments of `typer.Option`.
    """
    allowed = list(kind) if words is None else words
    return typer.Option(
        *names,
        metavar=metavar,
        help=f"{help} One of: {', '.join(allowed)}." if len(allowed) <= _MOST_WORDS_IN_HELP else help,
        parser=_parser(kind, allowed),
        autocompletion=_completion(allowed),
        **options,
    )


_MOST_WORDS_IN_HELP = 12


def _parser(kind: type[Word], allowed: Sequence[Word]) -> Callable[[str], Word]:
    def word(text: str) -> Word:
        with suppress(ValueError):
            # `unknown_99`, which a newer service may send, is a typing error here.
            if (given := kind(text)) in allowed:
                return given
        spelled = {each.casefold(): each for each in allowed}
        similar = get_close_matches(text.casefold().replace("-", "_"), spelled, n=1)
        advice = f"; did you mean {spelled[similar[0]]}?" if similar else ""
        raise typer.BadParameter(f"must be one of {', '.join(allowed)} (got {text}){advice}")

    return word


def _completion(allowed: Sequence[Word]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        # The shell offers only what continues the typed text, which may have hyphens.
        spelled = (word.replace("_", "-") if "-" in incomplete else str(word) for word in allowed)
        return [word for word in spelled if word.startswith(incomplete)]

    return complete
