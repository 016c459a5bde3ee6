"""Every public method of both clients has an example in its docstring, and it prints what it shows."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import avatar_creator
from avatar_creator import AvatarCreator, GenerationParameters
from avatar_creator.testing import LocalService, local_service
from tests.support.generations import SMALLEST

PICTURE = Path(__file__).parents[2] / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"
INTERNAL = {"connection", "namespace"}
"""Modules whose classes an app never sees."""
PROMPT = "calm man with a beard"


@dataclass(frozen=True, slots=True)
class Place:
    """A public method, or the class of a client."""

    owner: str
    name: str
    docstring: str

    @property
    def is_async(self) -> bool:
        """True if the method is one of the client for asyncio."""
        return self.owner.startswith("Async")

    @property
    def subject(self) -> str:
        """Name of the class in the sync client."""
        return self.owner.removeprefix("Async")

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}".rstrip(".")


def places() -> Iterator[Place]:
    """Yield every public method of both clients, and both clients."""
    for package in ("avatar_creator._async", "avatar_creator._sync"):
        for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{module_info.name}")
            for owner, kind in vars(module).items():
                own = inspect.isclass(kind) and kind.__module__ == module.__name__
                if not own or owner.startswith("_") or module_info.name in INTERNAL:
                    continue
                if owner.endswith("AvatarCreator"):
                    yield Place(owner, "", kind.__doc__ or "")
                for name, method in vars(kind).items():
                    if inspect.isfunction(method) and not name.startswith("_"):
                        yield Place(owner, name, method.__doc__ or "")


PLACES = list(places())


@dataclass(frozen=True, slots=True)
class Users:
    """The users of the examples, and the event loop of those with await."""

    service: LocalService
    runner: asyncio.Runner
    owner: AvatarCreator
    operator: AvatarCreator


class Studio:
    """One client with what the examples take for granted, in the state in which they expect it."""

    def __init__(self, users: Users, place: Place) -> None:
        service = users.service
        self._runner = users.runner
        self._owner = users.owner
        self._operator = users.operator
        self._place = place
        connect = service.async_client if place.is_async else service.client
        self._client: Any = connect("olga", role="ops") if place.subject == "Operations" else connect("sarah")
        self.names: dict[str, Any] = {
            **{name: getattr(avatar_creator, name) for name in avatar_creator.__all__},
            "client": self._client,
            "target": service.target,
            "token": service.token("sarah"),
        }

    def prepare(self) -> None:
        """Create what the names in the example stand for."""
        self._operator.operations.set_limits("sarah", concurrent=0, per_minute=0)
        if self._place.subject == "Operations":
            # A generation waits, until the example ends.
            self._operator.operations.pause_queue()
        project = self._owner.projects.create("Spring campaign")
        self.names["project"] = project
        if self._place.subject in ("Projects", "Avatars", "Usage", "Items"):
            self.names["sarah"] = self._owner.avatars.upload(
                project, "sarah.jpg", name="Sarah", persona={"name": "Sarah", "age": 32}
            )
        size: GenerationParameters = {"width": SMALLEST, "height": SMALLEST, "seed": 7}
        if self._place.subject == "Operations":
            self._owner.generations.create(project, PROMPT, **size)
        elif self._place.subject in ("Generations", "GenerationHandle", "Watch"):
            self.names["generation"] = self._result(self._client.generations.create(project, PROMPT, **size))
        elif self._place.subject == "GenerationGroup":
            group = self._client.generations.create_variations(project, PROMPT, 2, **size)
            self.names["group"] = self._result(group)

    def run(self, source: str) -> str:
        """Run one statement of an example and return what it prints."""
        code = compile(source, str(self._place), "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self._result(eval(code, self.names))
        return printed.getvalue()

    def clear(self) -> None:
        """Leave nothing to the next example."""
        self._result(self._client.close())
        for project in self._owner.projects.list():
            self._owner.projects.delete(project)
        if self._place.subject == "Operations":
            operations = self._operator.operations
            operations.resume_queue()
            for worker in operations.list_workers():
                operations.resume_worker(worker)

    def _result(self, value: Any) -> Any:
        return self._runner.run(value) if inspect.iscoroutine(value) else value


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    """Users of a service that only the examples use."""
    with (
        local_service(tmp_path_factory.mktemp("examples")) as service,
        asyncio.Runner() as runner,
        service.client("sarah") as owner,
        service.client("olga", role="ops") as operator,
    ):
        yield Users(service, runner, owner, operator)


def test_every_public_method_has_an_example() -> None:
    assert len(PLACES) > 100
    assert [str(place) for place in PLACES if ">>> " not in place.docstring] == []


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_an_example_prints_what_it_shows(
    place: Place, users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PICTURE, tmp_path / "sarah.jpg")
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    studio = Studio(users, place)
    try:
        studio.prepare()
        for example in doctest.DocTestParser().get_examples(inspect.cleandoc(place.docstring)):
            printed = studio.run(example.source)
            assert checker.check_output(example.want, printed, flags), (
                f"{place}: {example.source}shows\n{example.want}and prints\n{printed}"
            )
    finally:
        studio.clear()
