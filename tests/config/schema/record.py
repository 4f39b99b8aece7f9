"""Records what Envoy's schema has and `xds-protos` lacks: `make record-schema`.

It writes the descriptors into `tcpmesh/config/schema/` and a list of them for people into
docs/schema.md.  The binary is the one whose path is the argument, else that of the benchmarks, as
for `tests.config.record`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from benchmarks import tools
from tcpmesh.config.schema.newer import DATA
from tests.config.schema.binary import executable, files_in
from tests.config.schema.contrib import contrib_files, types_of
from tests.config.schema.gaps import gap
from tests.config.schema.page import page

PAGE = tools.REPOSITORY / "docs" / "schema.md"

#: The packages of `xds-protos` that a file of Envoy may depend on.
_ROOTS = ("envoy", "google", "udpa", "validate", "xds", "opentelemetry")


def newer_files(
    new: dict[str, FileDescriptorProto], old: dict[str, FileDescriptorProto]
) -> list[FileDescriptorProto]:
    """What new files have beyond old ones, and the contrib build beyond both; sorted by name."""
    wanted = [name for name in new if name.startswith("envoy/")]
    found = list(_gaps(wanted, new, old))
    found += contrib_files(types_of([*old.values(), *found]))
    return sorted(found, key=lambda file: file.name)


def _gaps(
    names: list[str], new: dict[str, FileDescriptorProto], old: dict[str, FileDescriptorProto]
) -> Iterator[FileDescriptorProto]:
    """What is missing of these files, and of those that they depend on."""
    seen = set(names)
    while names:
        file = new[names.pop()]
        missing = gap(file, old[file.name]) if file.name in old else _whole(file)
        if missing is not None:
            yield missing
            names += [name for name in missing.dependency if name not in seen and name not in old]
            seen |= set(names)


def _whole(file: FileDescriptorProto) -> FileDescriptorProto:
    """A file without what only generators of other languages ask for."""
    for option in ("java_package", "java_outer_classname", "java_multiple_files", "go_package"):
        file.options.ClearField(option)
    return file


def installed_files(root: str) -> Iterator[FileDescriptorProto]:
    """The files of a Python package as they are: each is the longest constant of its module."""
    for folder in import_module(root).__path__:
        for path in Path(folder).rglob("*_pb2.py"):
            constants = compile(path.read_bytes(), path, "exec").co_consts
            longest = max((each for each in constants if isinstance(each, bytes)), key=len)
            yield FileDescriptorProto.FromString(longest)


def record(program: Path) -> None:
    """Write the set and its list."""
    old = {file.name: file for root in _ROOTS for file in installed_files(root)}
    files = newer_files(files_in(program), old)
    DATA.write_bytes(FileDescriptorSet(file=files).SerializeToString(deterministic=True))
    PAGE.write_text(page(files, old, _version(program), version("xds-protos")))


def _version(program: Path) -> str:
    """The version that a program says of itself, such as 1.40.0."""
    command = [str(program), "--version"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return said.rpartition(":")[2].split("/")[1]


if __name__ == "__main__":
    record(executable(Path(sys.argv[1] if len(sys.argv) > 1 else tools.envoy())))
