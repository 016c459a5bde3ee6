"""Generate everything that is made from the contract: the stubs, the table of RPCs, and the descriptor set.

`make protos` runs it in an environment of its own. The stubs of the client do not have the options of fields
and methods: their modules would make `import avatar_creator` slower. The descriptor set of the server has the
options, and the comments. It also has the protos of the other services of the server and of the details of
errors, which reflection describes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PROTOS = Path(__file__).parent
SOURCES = (PROTOS, PROTOS.parent / "protos_third_party")
PACKAGE = "avatar_creator/v1/"
OPTIONS = f"{PACKAGE}options.proto"
FOR_OPTIONS = frozenset({OPTIONS, "google/api/field_behavior.proto"})
"""Files that only define options. The stubs do not import them."""
DESCRIBED = (
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
)
"""Files of other projects that only reflection needs."""
MAX_LINE = 110

RPCS_HEAD = '''\
# Generated from protos by `make protos`. Do not edit: change the contract instead.
"""Every RPC of the contract: its path, its response class, its deadline and whether it may be retried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from avatar_creator.v1 import (
{imports}
)

Response = TypeVar("Response", bound=Message)

CALL_SECONDS = {call:.1f}
"""Default deadline of a call, in seconds."""
TRANSFER_SECONDS = {transfer:.1f}
"""Default deadline of a call that carries a picture or changes many resources, in seconds."""


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Response]):
    """One RPC of the contract."""

    service: str
    """Name of the gRPC service, without its package."""
    method: str
    """Name of the RPC in its service."""
    response: type[Response]
    """Class of the response, or of each message of a response stream."""
    retryable: bool
    """True if a second call is safe after UNAVAILABLE, when the first one may have succeeded."""
    transfer: bool = False
    """True if the call has the longer default deadline."""

    @property
    def path(self) -> str:
        """The HTTP/2 path of the RPC."""
        return f"/avatar_creator.v1.{{self.service}}/{{self.method}}"


'''
RPCS_TAIL = '''
ALL: tuple[Rpc[Any], ...] = tuple(value for value in vars().values() if isinstance(value, Rpc))


def serialize(request: Message) -> bytes:
    """Return the bytes of the request, as gRPC sends them."""
    return request.SerializeToString()
'''


def main(output: Path) -> None:
    """Generate all files into a folder."""
    files = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / PACKAGE).glob("*.proto"))
    contract = output / "contract.binpb"
    paths = [f"--proto_path={folder}" for folder in SOURCES]
    protoc(
        *paths,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={contract}",
        *files,
        *DESCRIBED,
    )
    (output / "rpcs.py").write_text(table_of_rpcs(contract.read_bytes()))
    without_options = output / "without_options.binpb"
    without_options.write_bytes(strip_options(contract.read_bytes()))
    stubs = [file for file in files if file != OPTIONS]
    source = f"--descriptor_set_in={without_options}"
    protoc(source, f"--python_out={output}", f"--mypy_out=quiet:{output}", *stubs)
    services = [file for file in stubs if file.endswith("_service.proto")]
    protoc(source, f"--grpc_python_out={output}", f"--mypy_grpc_out=quiet:{output}", *services)
    protoc(*paths, f"--python_out={output}", f"--mypy_out=quiet:{output}", OPTIONS)
    without_options.unlink()


def protoc(*arguments: str) -> None:
    """Run the compiler, with the plugins of this environment."""
    folder = Path(sys.executable).parent
    plugins = [f"--plugin={name}={folder / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *plugins, *arguments], check=True)


def strip_options(contract: bytes) -> bytes:
    """Return a descriptor set without the options that are extensions, and without the imports for them."""
    files = descriptor_pb2.FileDescriptorSet.FromString(contract)
    # To this program, the extensions are unknown fields.
    files.DiscardUnknownFields()
    kept_files = [file for file in files.file if file.name not in FOR_OPTIONS]
    for file in kept_files:
        kept = [imported for imported in file.dependency if imported not in FOR_OPTIONS]
        del file.dependency[:]
        file.dependency.extend(kept)
        for message in file.message_type:
            for field in message.field:
                # Each has the default name, which the stubs do not repeat.
                field.ClearField("json_name")
                if not field.options.ByteSize():
                    field.ClearField("options")
    return descriptor_pb2.FileDescriptorSet(file=kept_files).SerializeToString(deterministic=True)


def table_of_rpcs(contract: bytes) -> str:
    """Return the module with the table of all RPCs."""
    rpcs = list(methods(contract))
    deadlines = sorted({facts.deadline_seconds for *_, facts in rpcs if facts.deadline_seconds})
    if len(deadlines) != 2:
        sys.exit(
            f"the clients know two deadlines, of calls and of transfers, and the contract has {deadlines}"
        )
    call, transfer = deadlines
    modules = sorted({module for module, *_ in rpcs})
    head = RPCS_HEAD.format(
        imports="\n".join(f"    {module}," for module in modules), call=call, transfer=transfer
    )
    body = ""
    last = rpcs[0][1]
    for module, service, method, facts in rpcs:
        if service != last:
            body, last = body + "\n", service
        arguments = [f'"{service}"', f'"{method.name}"', f"{module}.{method.output_type.rpartition('.')[2]}"]
        arguments.append(f"retryable={facts.retryable}")
        if facts.deadline_seconds == transfer:
            arguments.append("transfer=True")
        body += assignment(re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).upper(), arguments)
    return head + body + RPCS_TAIL


def methods(contract: bytes) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield module, service, method and `CallFacts` of every RPC."""
    pool = DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(contract)
    for file in files.file:
        pool.Add(file)
    extension = pool.FindExtensionByName("avatar_creator.v1.call_facts")
    options = GetMessageClass(pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
    contract_files = (file for file in files.file if file.name.startswith(PACKAGE))
    for file in contract_files:
        for service in file.service:
            for method in service.method:
                known = options.FromString(method.options.SerializeToString())
                yield f"{Path(file.name).stem}_pb2", service.name, method, known.Extensions[extension]


def assignment(name: str, arguments: Sequence[str]) -> str:
    """Return the assignment of an `Rpc`, as ruff formats it."""
    line = f"{name} = Rpc({', '.join(arguments)})\n"
    if len(line) <= MAX_LINE + 1:
        return line
    inner = f"    {', '.join(arguments)}\n"
    if len(inner) > MAX_LINE + 1:
        inner = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name} = Rpc(\n{inner})\n"


main(Path(sys.argv[1]))
