"""Checks of arguments, which find every wrong argument of a call before anything is sent."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from operator import index
from types import TracebackType
from typing import Any, Self, SupportsFloat, TypeVar

from avatar_creator.enums import Word
from avatar_creator.errors import FieldViolation, InvalidArgumentError

Result = TypeVar("Result")
AnyWord = TypeVar("AnyWord", bound=Word)

LONGEST_SECONDS = 1e8
"""Longest timeout, three years. gRPC cannot compute the end of an infinite one."""

_LARGEST_INT32 = 2**31 - 1
_SMALLEST_INT32 = -(2**31)
_SHOWN_NUMBERS = 10**15


class Arguments:
    """Checks of the arguments of one call.

    Each method returns an argument as the request needs it. None means "not given", unless the argument is
    required. If an argument is wrong, the method notes why and returns an empty value. The end of the `with`
    block raises one error for all wrong arguments.
    """

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception is None and self._violations:
            raise refusal(self._violations)

    def refuse(self, argument: str, problem: str) -> None:
        """Note that an argument is wrong."""
        self._violations.append(FieldViolation(argument, problem))

    def collected(self, make: Callable[[], Result], place: str = "") -> Result | None:
        """Return what the function makes; None if it refuses arguments, which are noted.

        Args:
            make: The function.
            place: Text before the names of the refused arguments, for example `persona.`.
        """
        try:
            return make()
        except InvalidArgumentError as error:
            for violation in error.field_violations:
                self.refuse(f"{place}{violation.field}", violation.description)
            return None

    def text(self, argument: str, given: object, *, required: bool = False) -> str:
        """Return a text; an empty one for None."""
        if given is None and not required:
            return ""
        if not isinstance(given, str):
            self.refuse(argument, f"must be a text (got {described(given)})")
            return ""
        if not _is_unicode(given):
            self.refuse(argument, "has a character that is not valid Unicode and has no UTF-8 form")
            return ""
        return given

    def texts(self, argument: str, given: object) -> list[str]:
        """Return a list of texts; an empty one for None."""
        return [
            self.text(f"{argument}[{n}]", each, required=True) for n, each in self.listed(argument, given)
        ]

    def listed(self, argument: str, given: object) -> list[tuple[int, Any]]:
        """Return the items of a list with their numbers from 0; no items for None."""
        if given is None:
            return []
        # A text is iterable too, and each of its characters would be an item.
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            self.refuse(argument, f"must be a list, as in [first, second] (got {described(given)})")
            return []
        return list(enumerate(given))

    def whole(
        self,
        argument: str,
        given: object,
        *,
        least: int | None = None,
        most: int | None = None,
        required: bool = False,
    ) -> int:
        """Return a whole number that the field can hold; 0 for None. The service knows the other limits."""
        if given is None and required:
            self.refuse(argument, "must be a whole number (got None)")
        number = self.optional_whole(argument, given, least=least, most=most)
        return 0 if number is None else number

    def optional_whole(
        self, argument: str, given: object, *, least: int | None = None, most: int | None = None
    ) -> int | None:
        """Return a whole number that the field can hold; None for None."""
        if given is None:
            return None
        try:
            if isinstance(given, bool):
                raise TypeError
            number = index(given)  # type: ignore[arg-type]  # a `TypeError` means that it is none
        except TypeError:
            self.refuse(argument, f"must be a whole number (got {described(given)})")
            return None
        if number < (_SMALLEST_INT32 if least is None else least):
            problem = "is too small" if least is None else f"must be {least:,} or more"
        elif number > (_LARGEST_INT32 if most is None else most):
            problem = "is too large" if most is None else f"must be {most:,} or less"
        else:
            return number
        self.refuse(argument, f"{problem}{_got(number)}")
        return None

    def number(self, argument: str, given: object) -> float:
        """Return a number; 0 for None."""
        if given is None:
            return 0.0
        try:
            if isinstance(given, bool | str | bytes) or not isinstance(given, SupportsFloat):
                raise TypeError
            return float(given)
        except (TypeError, ValueError):
            self.refuse(argument, f"must be a number (got {described(given)})")
        except OverflowError:
            self.refuse(argument, "is too large")
        return 0.0

    def flag(self, argument: str, given: object) -> bool:
        """Return a yes or no; no for None."""
        if given is None or isinstance(given, bool):
            return bool(given)
        self.refuse(argument, f"must be True or False (got {described(given)})")
        return False

    def seconds(self, argument: str, given: object) -> float | None:
        """Return a number of seconds; None for None."""
        if given is None:
            return None
        number = self.number(argument, given)
        if math.isnan(number) or number < 0:
            self.refuse(argument, f"must be 0 seconds or more{_got(number)}")
        return min(number, LONGEST_SECONDS)

    def word(self, argument: str, kind: type[AnyWord], given: object) -> AnyWord | None:
        """Return the member that an argument names, by itself or by its word."""
        return self.collected(lambda: kind.given(argument, given))

    def optional_word(self, argument: str, kind: type[AnyWord], given: object) -> AnyWord | None:
        """Return the member that an argument names; None for None."""
        return None if given is None else self.word(argument, kind, given)

    def path(self, argument: str, given: object) -> str:
        """Return the path of a file or a folder."""
        path = os.fspath(given) if isinstance(given, os.PathLike) else given
        if not isinstance(path, str):
            self.refuse(argument, f"must be a path (got {described(given)})")
            return ""
        try:
            name = os.fsencode(path)
        except UnicodeEncodeError:
            name = b"\0"
        if not name or b"\0" in name:
            self.refuse(
                argument, "must be a path that files can have" if name else "must not be an empty path"
            )
        return path

    def function(self, argument: str, given: object) -> None:
        """Check a function that the client calls without awaiting it; None is none."""
        if given is None:
            return
        if not callable(given):
            self.refuse(argument, f"must be a function (got {described(given)})")
        elif iscoroutinefunction(given):
            self.refuse(argument, "must not be an async function; both clients call it without awaiting it")


def refusal(violations: Iterable[FieldViolation]) -> InvalidArgumentError:
    """Return one error for all wrong arguments."""
    listed = list(violations)
    message = "; ".join(f"{each.field} {each.description}" for each in listed)
    return InvalidArgumentError(message, field_violations=listed)


def refused(argument: str, problem: str) -> InvalidArgumentError:
    """Return the error of an argument that the client refuses."""
    return refusal([FieldViolation(argument, problem)])


def described(given: object) -> str:
    """Return a description of a wrong argument for people: its type, or the value if that is short."""
    if given is None:
        return "None"
    if isinstance(given, bool | float):
        return str(given)
    name = "text" if isinstance(given, str) else type(given).__name__
    return f"{article(name)} {name}"


def article(noun: str) -> str:
    """Return `a` or `an`."""
    return "an" if noun[0] in "AEIOUaeiou" else "a"


def _got(number: float) -> str:
    return f" (got {number:,})" if not abs(number) > _SHOWN_NUMBERS else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
