"""`buf.gen.yaml`, the example for clients in other languages, generates code from the whole contract."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.child_process import run

REPOSITORY = Path(__file__).parents[2]

# A plugin in place of the one for JavaScript: it writes a file for each file that it receives.
PLUGIN = f"""#!{sys.executable}
import sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
response = CodeGeneratorResponse()
for name in request.file_to_generate:
    response.file.add(name=name, content=request.parameter)
sys.stdout.buffer.write(response.SerializeToString())
"""


@pytest.fixture
def generated(tmp_path: Path) -> dict[str, str]:
    """The parameter of the plugin by each file that it was to generate."""
    plugin = tmp_path / "protoc-gen-es"
    plugin.write_text(PLUGIN)
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


def test_code_is_generated_for_the_contract_its_imports_and_the_details_of_errors(
    generated: dict[str, str],
) -> None:
    contract = {path.name for path in (REPOSITORY / "protos/avatar_creator/v1").glob("*.proto")}
    others = {
        "google/api/field_behavior.proto",
        "google/rpc/error_details.proto",
        "google/rpc/status.proto",
        "google/type/date.proto",
    }

    assert {f"avatar_creator/v1/{name}" for name in contract} | others <= generated.keys()
    assert set(generated.values()) == {"target=js+dts,import_extension=js"}
