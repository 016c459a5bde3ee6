"""Groups of options that several commands have."""

from __future__ import annotations

from dataclasses import fields
from inspect import Parameter
from typing import Any, Self, get_type_hints


class OptionGroup:
    """Options that a command function takes as one parameter: a dataclass with one field for each option."""

    __slots__ = ()

    @classmethod
    def parameters(cls) -> list[Parameter]:
        """Return the options, as parameters of a command."""
        types = get_type_hints(cls, include_extras=True)
        return [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
            for field in fields(cls)  # type: ignore[arg-type]
        ]

    @classmethod
    def take(cls, options: dict[str, Any]) -> Self:
        """Return the group with the values that were given, and remove them from `options`."""
        return cls(**{parameter.name: options.pop(parameter.name) for parameter in cls.parameters()})
