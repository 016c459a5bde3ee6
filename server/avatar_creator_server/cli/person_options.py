"""Options for the attributes and the persona of the person in a picture.

The options are derived from the fields of the client's `Attributes` and `Persona`, so a new field of the
contract is an option without further work. A field whose type is no enum needs its help text here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from inspect import Parameter
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

import typer

from avatar_creator import Attributes, Persona
from avatar_creator.conversion import Value
from avatar_creator.enums import Word
from avatar_creator_server.cli.option_groups import OptionGroup
from avatar_creator_server.cli.words import word_option

_TEXTS = {
    "ethnicity": ("TEXT", "Ethnicity in your own words, at most 60 characters."),
    "persona_name": ("TEXT", "Name of the person, at most 120 characters."),
    "persona_age": ("YEARS", "Age in years, 1 to 120."),
    "persona_personality": ("TRAIT", "Trait of the person, such as `calm`; repeat it for up to 12 traits."),
    "persona_background": ("TEXT", "Life story, at most 4,000 characters. It is no part of the prompt."),
}
"""Name of the value and help text of each option that takes no word of an enum."""
_PARTS: Mapping[str, tuple[type[Value[Any]], str]] = {
    "attributes": (Attributes, ""),
    "persona": (Persona, "persona_"),
}
"""The parts of an avatar that have options, with the beginning of their options' names."""


@dataclass(frozen=True, slots=True)
class PersonOptions(OptionGroup):
    """The attributes and the persona that the options name."""

    given: Mapping[str, Mapping[str, Any]]
    """The values that were given, by part (`attributes` or `persona`) and field."""

    @property
    def fields(self) -> dict[str, Any]:
        """The given parts as arguments of the client's methods; parts without a value are left out."""
        return {part: values for part, values in self.given.items() if values}

    @property
    def paths(self) -> list[str]:
        """Paths of the given fields, such as `persona.age`."""
        return [f"{part}.{field}" for part, values in self.given.items() for field in values]

    @classmethod
    def parameters(cls) -> list[Parameter]:
        """Return the options, as parameters of a command."""
        return [
            Parameter(option, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for option, _, _, annotation in _options()
        ]

    @classmethod
    def take(cls, options: dict[str, Any]) -> Self:
        """Return the options that were given, and remove all of the group from `options`."""
        given: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for option, part, field, _ in _options():
            # Typer gives an empty list for an option that may be repeated.
            if (value := options.pop(option)) not in (None, []):
                given[part][field] = value
        return cls(given)


def person_paths() -> dict[str, str]:
    """Return the path of the field that each option sets, such as `persona.age`, by the option's name."""
    return {option.replace("_", "-"): f"{part}.{field}" for option, part, field, _ in _options()}


@cache
def _options() -> list[tuple[str, str, str, Any]]:
    """Return option, part, field and annotation of every field."""
    return [
        (f"{prefix}{name}", part, name, _annotation(f"{prefix}{name}", kind))
        for part, (value, prefix) in _PARTS.items()
        for name, kind in _kinds(value)
    ]


def _kinds(value: type[Value[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the name of each field, and its type without None."""
    types = get_type_hints(value)
    for field in fields(value):  # type: ignore[arg-type]
        hint = types[field.name]
        is_repeated = get_origin(hint) is tuple
        [kind] = {each for each in get_args(hint) if each not in (type(None), Ellipsis)}
        yield field.name, list[kind] if is_repeated else kind  # type: ignore[valid-type]


def _annotation(option: str, kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Word):
        meaning = (kind.__doc__ or "").partition(".")[0]
        return Annotated[str | None, word_option(kind, help=f"{meaning}.", rich_help_panel=_PANEL)]
    metavar, help = _TEXTS[option]
    return Annotated[
        kind | None,
        typer.Option(metavar=metavar, help=help, show_default=False, rich_help_panel=_PANEL),
    ]


_PANEL = "The person in the picture"
