"""Messages of tcpmesh's own, for what Envoy has nothing for: `type.googleapis.com/tcpmesh...`.

Each is described in a `.proto` file, which whoever writes configurations by program can compile.
Python has no need of a compiler: `make own-schema` puts the descriptors of all files into one
(`own.binpb`), and the modules here are made of these as they are imported, whatever the version of
protobuf is.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tcpmesh.config.schema.loaders import make

FOLDER = Path(__file__).parent
DATA = FOLDER / "own.binpb"

ROOT = "tcpmesh"
"""How the packages of the messages begin."""


@cache
def files() -> dict[str, FileDescriptorProto]:
    """The descriptors of all files, by the names of these."""
    found = FileDescriptorSet.FromString(DATA.read_bytes()).file
    return {file.name.rpartition("/")[2]: file for file in found}


def types() -> list[str]:
    """The full names of the messages."""
    return [
        f"{file.package}.{each.name}" for file in files().values() for each in file.message_type
    ]


def load() -> None:
    """See to it that protobuf knows all of them."""
    for name in files():
        importlib.import_module(f"{__name__}.{name.removesuffix('.proto')}_pb2")


def fill(name: str, names: dict[str, Any]) -> None:
    """Put what is in a file into the module for it, as the code does that `protoc` writes."""
    make(files()[name], names["__name__"], names)
