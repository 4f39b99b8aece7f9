"""Loads the modules that `finder` finds: those of `xds-protos` with their gaps filled, and those
that it lacks made from nothing but their file.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.abc import InspectLoader, Loader
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.internal import builder

from tcpmesh.config.schema import newer
from tcpmesh.config.schema.fill import fill
from tcpmesh.config.schema.offsets import locate


def spec_of(name: str, spec: ModuleSpec | None, file: FileDescriptorProto) -> ModuleSpec:
    """How a module is to be loaded, where others know this of it or nothing.

    A loader that does not show the code that it runs is left alone.
    """
    if spec is None:
        return ModuleSpec(name, MadeLoader(file))
    if hasattr(spec.loader, "get_code"):
        spec.loader = FilledLoader(spec.loader, file)
    return spec


def has_gaps(module: str) -> bool:
    """Whether the newer file has anything that an imported module lacks."""
    file = FileDescriptorProto.FromString(sys.modules[module].DESCRIPTOR.serialized_pb)
    return fill(file, newer.modules()[module])


class FilledLoader(InspectLoader):
    """Loads a generated module whose file has what a newer one has.

    :param loader: loads the module as it is.
    """

    def __init__(self, loader: Any, file: FileDescriptorProto) -> None:
        self._loader = loader
        self._file = file
        self._start = FileDescriptorProto(name=file.name).SerializeToString()

    def get_source(self, fullname: str) -> str | None:
        """The text of the module as it is, for tracebacks."""
        source: str | None = self._loader.get_source(fullname)
        return source

    def get_code(self, fullname: str) -> CodeType | None:
        """The code of the module, with another file among its constants."""
        code: CodeType | None = self._loader.get_code(fullname)
        if code is None:
            return None
        return code.replace(co_consts=tuple(self._filled(each) for each in code.co_consts))

    def _filled(self, constant: object) -> object:
        if not isinstance(constant, bytes) or not constant.startswith(self._start):
            return constant
        file = FileDescriptorProto.FromString(constant)
        if not fill(file, self._file):
            return constant
        _load(self._file.dependency)
        return file.SerializeToString()

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        super().exec_module(module)
        locate(module.DESCRIPTOR)


class MadeLoader(Loader):
    """Makes the module of a file, as the code does that `protoc` writes."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        make(self._file, module.__name__, vars(module))


def _load(names: Iterable[str]) -> None:
    """See to it that protobuf knows these files."""
    for name in names:
        module = newer.module_of(name)
        if module is not None:
            importlib.import_module(module)
        elif _in_pool(name) is None:
            make(newer.files()[name], name, {})


def make(file: FileDescriptorProto, module: str, names: dict[str, Any]) -> None:
    """Tell protobuf of a file and of those that it depends on; put what is in it into a module.

    Where another package has told protobuf of a file of this name, it is the file.
    """
    _load(file.dependency)
    pool: Any = descriptor_pool.Default()
    descriptor = _in_pool(file.name) or pool.AddSerializedFile(file.SerializeToString())
    names["DESCRIPTOR"] = descriptor
    builder.BuildMessageAndEnumDescriptors(descriptor, names)
    builder.BuildTopDescriptorsAndMessages(descriptor, module, names)
    locate(descriptor)


def _in_pool(name: str) -> Any:
    try:
        return descriptor_pool.Default().FindFileByName(name)
    except KeyError:
        return None
