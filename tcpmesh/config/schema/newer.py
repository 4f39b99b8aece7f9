"""What Envoy has and older versions of `xds-protos` lack, as `make record-schema` has found it.

It is a set of descriptors.  A file that the package has too holds only what is missing in it; one
that the package lacks is here as a whole.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

DATA = Path(__file__).with_name("envoy.binpb")

#: The version of Envoy that the set is of.
ENVOY = "1.40"

#: The Python package in which the modules of the files are.
ROOT = "envoy"


@cache
def files() -> dict[str, FileDescriptorProto]:
    """The files by name."""
    return {file.name: file for file in FileDescriptorSet.FromString(DATA.read_bytes()).file}


def module_of(name: str) -> str | None:
    """The Python module of a file; `None` for one of ours that is to have none, being no file of
    Envoy.
    """
    file = files().get(name)
    if file is None:
        return _module(name.rpartition("/")[0].replace("/", "."), name)
    return _module(file.package, name) if file.package.startswith(f"{ROOT}.") else None


@cache
def modules() -> dict[str, FileDescriptorProto]:
    """The files by the names of their modules; the Python package is that of the messages."""
    named = ((module_of(name), file) for name, file in files().items())
    return {name: file for name, file in named if name is not None}


@cache
def packages() -> dict[str, tuple[str, ...]]:
    """The Python packages with such modules in them, directly or not; each with the names in it."""
    found: dict[str, dict[str, None]] = {}
    for name in modules():
        while name != ROOT:
            package, _, last = name.rpartition(".")
            found.setdefault(package, {})[last] = None
            name = package
    return {package: tuple(names) for package, names in found.items()}


def _module(package: str, name: str) -> str:
    stem = name.rpartition("/")[2].removesuffix(".proto").replace("-", "_")
    return f"{package}.{stem}_pb2"
