"""Options that take a word of an enum: parsed, refused with the allowed words, and completed by the shell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from avatar_creator.enums import Word


def word_option(kind: type[Word], *names: str, help: str, metavar: str = "WORD", **options: Any) -> Any:
    """Return an option whose value is a word of the enum. Its case and hyphens do not matter.

    Args:
        kind: The enum.
        names: Names of the option; none means that of the parameter.
        help: Help text. The words follow it, unless they are too many.
        metavar: Name of the value in the help.
        options: Other arguments of `typer.Option`.
    """
    return typer.Option(
        *names,
        metavar=metavar,
        help=f"{help} One of: {', '.join(kind)}." if len(list(kind)) <= _MOST_WORDS_IN_HELP else help,
        parser=_parser(kind),
        autocompletion=_completion(kind),
        **options,
    )


_MOST_WORDS_IN_HELP = 12


def _parser(kind: type[Word]) -> Callable[[str], Word]:
    def word(text: str) -> Word:
        with suppress(ValueError):
            # `unknown_99`, which a newer service may send, is a typing error here.
            if (given := kind(text)) in list(kind):
                return given
        raise typer.BadParameter(f"must be one of {', '.join(kind)} (got {text})")

    return word


def _completion(kind: type[Word]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        # The shell offers only what continues the typed text, which may have hyphens.
        spelled = (word.replace("_", "-") if "-" in incomplete else str(word) for word in kind)
        return [word for word in spelled if word.startswith(incomplete)]

    return complete
