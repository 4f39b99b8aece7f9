"""Compiles the `.proto` files of tcpmesh's own messages: `make own-schema`.

What they import comes from the installed packages, as descriptors.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from tcpmesh.config.schema.newer import module_of
from tcpmesh.config.schema.own import DATA, FOLDER


def compiled() -> FileDescriptorSet:
    """The descriptors of all files, as they are now."""
    found = FileDescriptorSet()
    for path in sorted(FOLDER.glob("*.proto")):
        found.file.append(_compiled(path))
    return found


def _compiled(path: Path) -> FileDescriptorProto:
    text = path.read_text()
    folder = _package(text).replace(".", "/")
    with tempfile.TemporaryDirectory() as temporary:
        known, made = Path(temporary, "known"), Path(temporary, "made")
        known.write_bytes(FileDescriptorSet(file=_known(_imports(text))).SerializeToString())
        target = Path(temporary, folder, path.name)
        target.parent.mkdir(parents=True)
        target.write_text(text)
        arguments = [f"-I{temporary}", f"--descriptor_set_in={known}"]
        arguments += [f"--descriptor_set_out={made}", f"{folder}/{path.name}"]
        if protoc.main(["protoc", *arguments]):
            sys.exit(1)
        (file,) = FileDescriptorSet.FromString(made.read_bytes()).file
    return file


def _package(text: str) -> str:
    return next(
        line.split()[1].rstrip(";") for line in text.splitlines() if line.startswith("package ")
    )


def _imports(text: str) -> Iterable[str]:
    return [line.split('"')[1] for line in text.splitlines() if line.startswith("import ")]


def _known(names: Iterable[str]) -> list[FileDescriptorProto]:
    """These files, and those that they depend on, before them."""
    found: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name not in found:
            module = module_of(name)
            assert module is not None
            file = FileDescriptorProto.FromString(import_module(module).DESCRIPTOR.serialized_pb)
            for each in file.dependency:
                add(each)
            found[name] = file

    for name in names:
        add(name)
    return list(found.values())


if __name__ == "__main__":
    DATA.write_bytes(compiled().SerializeToString(deterministic=True))
