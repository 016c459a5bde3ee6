"""Both clients cover the whole contract, with the same methods, parameters and documentation."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any, Unpack, get_type_hints

import pytest

import avatar_creator
from avatar_creator import AsyncAvatarCreator, AvatarCreator, GenerationParameters, rpcs
from tests.client.scripted_server import GENERATED

METHOD_BY_RPC = {
    "AvatarProjectService.CreateProject": "projects.create",
    "AvatarProjectService.GetProject": "projects.get",
    "AvatarProjectService.ListProjects": "projects.list",
    "AvatarProjectService.UpdateProject": "projects.update",
    "AvatarProjectService.DeleteProject": "projects.delete",
    "AvatarService.UploadAvatar": "avatars.upload",
    "AvatarService.GetAvatar": "avatars.get",
    "AvatarService.BatchGetAvatars": "avatars.batch_get",
    "AvatarService.ListAvatars": "avatars.list",
    "AvatarService.UpdateAvatar": "avatars.update",
    "AvatarService.DeleteAvatar": "avatars.delete",
    "AvatarService.DownloadImage": "avatars.download",
    "GenerationService.CreateGeneration": "generations.create",
    "GenerationService.EstimateGeneration": "generations.estimate",
    "GenerationService.GetGeneration": "generations.get",
    "GenerationService.ListGenerations": "generations.list",
    "GenerationService.WatchGeneration": "generations.watch",
    "GenerationService.WatchGenerations": "generations.watch_many",
    "GenerationService.CancelGeneration": "generations.cancel",
    "GenerationService.RetryGeneration": "generations.retry",
    "UsageService.RecordUsage": "usage.record",
    "UsageService.ListUsage": "usage.list",
    "UsageService.SummarizeUsage": "usage.summarize",
    "UsageService.GetStats": "usage.stats",
    "PresetService.ListPresets": "presets.list",
    "PresetService.GetPreset": "presets.get",
    "PresetService.ListPersonaExamples": "personas.list",
    "PresetService.GetPersonaExample": "personas.get",
    "OperationsService.ListWorkers": "operations.list_workers",
    "OperationsService.DrainWorker": "operations.drain_worker",
    "OperationsService.ResumeWorker": "operations.resume_worker",
    "OperationsService.GetQueue": "operations.get_queue",
    "OperationsService.PauseQueue": "operations.pause_queue",
    "OperationsService.ResumeQueue": "operations.resume_queue",
    "OperationsService.RetryNow": "operations.retry_now",
    "OperationsService.BulkCancelGenerations": "operations.bulk_cancel",
    "OperationsService.BulkRetryGenerations": "operations.bulk_retry",
    "OperationsService.ListUsers": "operations.list_users",
    "OperationsService.GetUserLimits": "operations.get_limits",
    "OperationsService.SetUserLimits": "operations.set_limits",
    "OperationsService.ClearUserLimits": "operations.clear_limits",
}
NAMESPACES = {
    "projects": (avatar_creator.Projects, avatar_creator.AsyncProjects),
    "avatars": (avatar_creator.Avatars, avatar_creator.AsyncAvatars),
    "generations": (avatar_creator.Generations, avatar_creator.AsyncGenerations),
    "usage": (avatar_creator.Usage, avatar_creator.AsyncUsage),
    "presets": (avatar_creator.Presets, avatar_creator.AsyncPresets),
    "personas": (avatar_creator.Personas, avatar_creator.AsyncPersonas),
    "operations": (avatar_creator.Operations, avatar_creator.AsyncOperations),
}
CONTRACT = {
    f"{service.name}.{method.name}": method
    for messages, _ in GENERATED
    for service in messages.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def public(cls: type[Any]) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(cls, callable) if not name.startswith("_")}


def parameters(member: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(member).parameters.values()]


RETURNED = (
    (avatar_creator.GenerationHandle, avatar_creator.AsyncGenerationHandle),
    (avatar_creator.GenerationGroup, avatar_creator.AsyncGenerationGroup),
    (avatar_creator.Items, avatar_creator.AsyncItems),
)
"""Classes of the objects with methods that a client returns, except watches, whose `close` has two names."""
METHODS = {
    f"{cls.__name__}.{name}": member
    for classes in (*NAMESPACES.values(), *RETURNED, (AvatarCreator, AsyncAvatarCreator))
    for cls in classes
    for name, member in public(cls).items()
}
GENERATIONS = (avatar_creator.Generations, avatar_creator.AsyncGenerations)


def test_the_table_has_every_rpc_of_the_contract() -> None:
    assert METHOD_BY_RPC.keys() == CONTRACT.keys()


@pytest.mark.parametrize("path", METHOD_BY_RPC.values())
def test_every_rpc_is_a_documented_method_of_both_clients(path: str) -> None:
    namespace, method = path.split(".")
    for cls in NAMESPACES[namespace]:
        assert inspect.getdoc(getattr(cls, method))


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_of_a_method_is_documented(method: str) -> None:
    documentation = inspect.getdoc(METHODS[method]) or ""
    names = [name for name in inspect.signature(METHODS[method]).parameters if name != "self"]
    for name in names:
        assert re.search(rf"^    (\*\*)?{name}: \S", documentation, re.MULTILINE), name


def test_namespaces_are_those_the_clients_have() -> None:
    channel: Any = object()
    for client in (AvatarCreator(channel=channel, token="t"), AsyncAvatarCreator(channel=channel, token="t")):
        index = 0 if isinstance(client, AvatarCreator) else 1
        assert {name: type(part) for name, part in vars(client).items() if not name.startswith("_")} == {
            name: classes[index] for name, classes in NAMESPACES.items()
        }


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [*NAMESPACES.values(), *RETURNED, (AvatarCreator, AsyncAvatarCreator)]
)
def test_both_clients_have_the_same_methods_with_the_same_parameters(
    blocking: type[Any], asynchronous: type[Any]
) -> None:
    assert public(blocking).keys() == public(asynchronous).keys()
    for name, member in public(blocking).items():
        assert parameters(member) == parameters(public(asynchronous)[name]), name


@pytest.mark.parametrize("generations", GENERATIONS)
@pytest.mark.parametrize("method", ["create", "create_variations", "estimate"])
def test_every_method_that_starts_generations_takes_all_generation_parameters(
    generations: type[Any], method: str
) -> None:
    member = getattr(generations, method)
    assert {p.name: p.kind for p in inspect.signature(member).parameters.values()}["parameters"] is (
        inspect.Parameter.VAR_KEYWORD
    )
    assert get_type_hints(member)["parameters"] == Unpack[GenerationParameters]


def test_every_generation_parameter_is_optional_and_documented() -> None:
    assert GenerationParameters.__optional_keys__ == GenerationParameters.__annotations__.keys()
    documentation = inspect.getdoc(GenerationParameters) or ""
    for name in GenerationParameters.__annotations__:
        assert f"\n    {name}: " in documentation, name


def test_both_clients_are_created_with_the_same_parameters() -> None:
    names = [p.name for p in inspect.signature(AvatarCreator).parameters.values()]
    assert names == [p.name for p in inspect.signature(AsyncAvatarCreator).parameters.values()]


def test_every_rpc_is_described_as_the_contract_has_it() -> None:
    described = {f"{rpc.service}.{rpc.method}": rpc for rpc in rpcs.ALL}
    assert described.keys() == CONTRACT.keys()
    for name, rpc in described.items():
        method = CONTRACT[name]
        assert rpc.path == f"/{method.containing_service.full_name}/{method.name}"
        assert rpc.response.DESCRIPTOR is method.output_type


def test_everything_that_is_exported_exists() -> None:
    assert all(hasattr(avatar_creator, name) for name in avatar_creator.__all__)
    assert not hasattr(avatar_creator, "no_such_name")


def test_the_version_is_that_of_the_distribution() -> None:
    assert avatar_creator.__version__ == version("avatar-creator-client")


SLOW_IMPORTS = {
    "importlib.metadata",
    "hashlib",
    "uuid",
    "ipaddress",
    "avatar_creator.handles",
    "avatar_creator.outcomes",
    "avatar_creator.pictures",
    "avatar_creator.rpcs",
    "avatar_creator.watching",
    "avatar_creator._async.client",
    "avatar_creator._sync.client",
}
"""Modules that a program loads only when it uses what needs them."""


def loaded_after(statement: str) -> set[str]:
    """Return the slow modules that a new process has loaded after this statement."""
    command = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return SLOW_IMPORTS & set(json.loads(finished.stdout))


def test_importing_the_package_loads_no_client() -> None:
    assert loaded_after("import avatar_creator") == set()


@pytest.mark.parametrize(
    ("client", "other"),
    [
        ("AvatarCreator", "avatar_creator._async.client"),
        ("AsyncAvatarCreator", "avatar_creator._sync.client"),
    ],
)
def test_importing_one_client_does_not_load_the_other(client: str, other: str) -> None:
    loaded = loaded_after(f"from avatar_creator import {client}")
    assert SLOW_IMPORTS - loaded == {"importlib.metadata", other}


def test_a_type_that_is_loaded_late_can_be_found_in_the_package() -> None:
    assert set(dir(avatar_creator)) == set(avatar_creator.__all__)
