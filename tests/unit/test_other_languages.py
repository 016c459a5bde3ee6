"""Clients in other languages: the example `buf.gen.yaml`, and the names in `docs/clients.md`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from avatar_creator_server.contract.field_options import contract_files
from tests.support.child_process import run

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "clients.md"
CONTRACT = "avatar_creator.v1"

# A plugin in place of those for Go: it writes a file for each file that it receives.
PLUGIN = f"""#!{sys.executable}
import sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
response = CodeGeneratorResponse()
for name in request.file_to_generate:
    response.file.add(name=name + ".KIND", content=request.parameter)
sys.stdout.buffer.write(response.SerializeToString())
"""
PLUGINS = {"messages": "protoc-gen-go", "services": "protoc-gen-go-grpc"}


@pytest.fixture
def generated(tmp_path: Path) -> dict[str, str]:
    """The parameter of the plugin by each file that it was to generate."""
    for kind in ("messages", "services"):
        plugin = tmp_path / PLUGINS[kind]
        plugin.write_text(PLUGIN.replace("KIND", kind))
        plugin.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = run(
        ["buf", "generate", "--output", tmp_path],
        timeout=60,
        directory=REPOSITORY,
        environment={"PATH": path, "HOME": str(tmp_path)},
    )
    assert finished.returncode == 0, finished.stderr
    folder = tmp_path / "gen"
    return {
        file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()
    }


def test_code_is_generated_for_the_contract_with_its_services(generated: dict[str, str]) -> None:
    contract = {path.name for path in (REPOSITORY / "protos/avatar_creator/v1").glob("*.proto")}

    # The protos of Google have their code in a library of Go.
    assert generated.keys() == {f"avatar_creator/v1/{name}.{kind}" for name in contract for kind in PLUGINS}
    (options,) = set(generated.values())
    assert "paths=source_relative" in options


def names_of_contract() -> set[str]:
    """Return the names that Go gives to everything in the contract and in the error details."""
    names = set()
    for file in contract_files().file:
        if file.package in (CONTRACT, "google.rpc"):
            for enum in file.enum_type:
                names |= {enum.name, *(f"{enum.name}_{value.name}" for value in enum.value)}
            for message in file.message_type:
                names.add(message.name)
                fields = [field for each in (message, *message.nested_type) for field in each.field]
                names |= {camel_case(field.name) for field in fields}
            for service in file.service:
                names |= {service.name, f"{service.name}Client", f"New{service.name}Client"}
                names |= {method.name for method in service.method}
            names |= {extension.name for extension in file.extension}
            names |= {f"E_{camel_case(extension.name)}" for extension in file.extension}
    return names


def camel_case(name: str) -> str:
    """Return `avatar_id` as `AvatarId`."""
    return "".join(word.capitalize() for word in name.split("_"))


# A name of the generated package, a getter, and a field of a request.
NAME = re.compile(r"\bpb\.(\w+)|\.Get(\w+)\(\)|^\t+([A-Z]\w+): ", re.MULTILINE)


def test_the_examples_of_the_guide_name_what_the_contract_has() -> None:
    code = "".join(re.findall(r"^```go\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
    known = names_of_contract()

    named = {each for found in NAME.finditer(code) for each in found.groups() if each}

    assert len(named) >= 10
    assert {each for each in named if each not in known and each[0].upper() + each[1:] not in known} == set()
