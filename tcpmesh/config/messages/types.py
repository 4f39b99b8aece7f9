"""Finds the message of an `@type`: the package of a type is the directory of its generated modules.

Python's protobuf knows a type only once the module that defines it was imported, and no rule gives
that module's name, so the modules of the one directory are imported until the type is known.  Only
packages of Envoy's schema are searched: a name in a configuration must not import anything else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tcpmesh.config.messages.scalars import Wrong, did_you_mean
from tcpmesh.config.schema import newer, own

#: The entry-point group in which packages name the types they handle.
EXTENSION_GROUP = "tcpmesh.extensions"

#: The part of a package's name that says which version of the API it is of.
_V2 = re.compile(r"v[12](?:alpha\d*|beta\d*)?\Z")

#: A message with which any extension can be configured: it has the name of its type, and fields.
TYPED_STRUCTS = frozenset({"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"})

_ROOTS = ("envoy", "xds", "udpa", "google", "cel", "opencensus", "opentelemetry")

_OWN = f"{own.ROOT}."


def type_of_url(url: str) -> str:
    """The full name of the message in a type URL: what follows the last slash."""
    return url.rpartition("/")[2]


def full_name_of(field: FieldDescriptor) -> str:
    """The full name of the message type of a field; empty where the field is no message."""
    return field.message_type.full_name if field.message_type is not None else ""


def content_name_of(field: FieldDescriptor) -> str:
    """The same, but for a map that of its values."""
    inner = field.message_type
    return full_name_of(
        inner.fields_by_name["value"]
        if inner is not None and inner.GetOptions().map_entry
        else field
    )


def new_message(full_name: str) -> Message:
    """An empty message of a type.

    Raises `Wrong` where there is no such type, or where it belongs to the v2 API, which Envoy
    dropped.
    """
    return message_class(find_type(full_name))()


def unpack(packed: any_pb2.Any) -> Message | None:
    """The message inside of an Any; `None` where it is empty or of no known type."""
    if not packed.type_url:
        return None
    try:
        content = new_message(type_of_url(packed.type_url))
        content.ParseFromString(packed.value)
    except (Wrong, DecodeError):
        return None
    return content


def extension_type(packed: any_pb2.Any) -> str:
    """The full name of the type that a typed configuration chooses its extension by: of a
    TypedStruct, which is left where its fields are no message, the one that it names.
    """
    name = type_of_url(packed.type_url)
    if name not in TYPED_STRUCTS:
        return name
    content: Any = unpack(packed)
    return type_of_url(content.type_url) if content is not None else name


def message_class(descriptor: Descriptor) -> type[Message]:
    """The generated class of a descriptor."""
    return message_factory.GetMessageClass(descriptor)


@cache
def find_type(full_name: str) -> Descriptor:
    """The descriptor of a message type; raises `Wrong` like `new_message`."""
    found = any_type(full_name) or _of_others(full_name)
    if found is None:
        raise Wrong(f"unknown type {full_name!r}", _near_type(full_name))
    if is_v2(found):
        hint = f"the v3 name is {moved_to(found)!r}; `tcpmesh migrate` rewrites the file"
        raise Wrong(f"type {full_name!r} belongs to the v2 API, which Envoy no longer has", hint)
    return found


@cache
def any_type(full_name: str) -> Descriptor | None:
    """The descriptor of a type of Envoy's schema, of any version, or of tcpmesh's own; `None` where
    there is none.
    """
    if full_name.startswith(_OWN):
        own.load()
        return _in_pool(full_name)
    return _in_pool(full_name) or _in_package(full_name)


def _in_pool(full_name: str) -> Descriptor | None:
    try:
        return descriptor_pool.Default().FindMessageTypeByName(full_name)
    except KeyError:
        return None


def _in_package(full_name: str) -> Descriptor | None:
    package = package_of(full_name)
    folder = _folder(package)
    if folder is None:
        return None
    for name in _modules(folder):
        importlib.import_module(name)
        found = _in_pool(full_name)
        if found is not None:
            return found
    return None


def _of_others(full_name: str) -> Descriptor | None:
    """A type of another package, known once the module that its entry point names is imported."""
    import_foreign(full_name)
    return _in_pool(full_name)


def import_foreign(full_name: str) -> None:
    """Import the modules in which other packages handle a type; raises `Wrong` where one cannot be
    imported.
    """
    for entry in _entry_points(full_name):
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Wrong(
                f"the module {entry.value!r}, which is to handle {full_name}, cannot be "
                f"imported: {reason}"
            ) from error


def is_foreign(full_name: str) -> bool:
    """Whether an installed package of other people says that it handles a type."""
    return bool(_entry_points(full_name))


def foreign_modules() -> frozenset[str]:
    """The modules in which installed packages of other people handle types."""
    return frozenset(each.module for found in _by_type(entry_points).values() for each in found)


def look_for_packages() -> None:
    """Packages may have been installed since anybody looked: called where a configuration is read,
    for to look takes long, and a configuration asks once for each of its types.
    """
    _by_type.cache_clear()


def _entry_points(full_name: str) -> tuple[EntryPoint, ...]:
    return _by_type(entry_points).get(full_name, ())


@cache
def _by_type(read: Callable[..., Iterable[EntryPoint]]) -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in read(group=EXTENSION_GROUP):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def package_of(full_name: str) -> str:
    """The package of a type: the parts before the first that begins with a capital, as the names of
    messages do.
    """
    parts = full_name.split(".")
    capital = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts))
    return ".".join(parts[:capital])


def _folder(package: str) -> ModuleType | None:
    parts = package.split(".")
    if parts[0] not in _ROOTS or not all(part.isidentifier() for part in parts):
        return None
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def _modules(folder: ModuleType) -> list[str]:
    return [f"{folder.__name__}.{name}" for name in _names(folder) if name.endswith("_pb2")]


def _names(folder: ModuleType) -> list[str]:
    """What is in a directory, also of the modules that are made as they are asked for."""
    made = newer.packages().get(folder.__name__, ())
    return sorted({*made, *(module.name for module in pkgutil.iter_modules(folder.__path__))})


def is_v2(descriptor: Descriptor) -> bool:
    """Whether a type is of the API that came before v3."""
    package = descriptor.file.package
    return package.startswith("envoy.") and any(
        part.startswith("v2") or part == "v1" for part in package.split(".")
    )


def moved_to(descriptor: Descriptor) -> str:
    """The v3 name of a type of the v2 API, as its schema tells it."""
    from udpa.annotations import migrate_pb2

    options = descriptor.file.GetOptions()
    own = descriptor.file.package
    package = options.Extensions[migrate_pb2.file_migrate].move_to_package
    if not package:
        parts = own.split(".")
        package = ".".join("v3" if _V2.match(part) else part for part in parts)
    name = descriptor.full_name[len(own) + 1 :]
    renamed = descriptor.GetOptions().Extensions[migrate_pb2.message_migrate].rename
    return f"{package}.{renamed or name}"


def _near_type(full_name: str) -> str:
    """A hint at the first part of a type's name that leads nowhere."""
    if full_name.startswith(_OWN):
        return did_you_mean(full_name, own.types())
    package = package_of(full_name)
    parts = package.split(".")
    for end in range(len(parts), 0, -1):
        folder = _folder(".".join(parts[:end]))
        if folder is not None:
            return _near_in(folder, full_name, parts, end)
    return did_you_mean(parts[0], (*_ROOTS, own.ROOT))


def _near_in(folder: ModuleType, full_name: str, parts: list[str], end: int) -> str:
    if end == len(parts):
        names = [name for module in _modules(folder) for name in _messages_of(module)]
        return did_you_mean(full_name, [f"{folder.__name__}.{name}" for name in names])
    return did_you_mean(parts[end], [name for name in _names(folder) if "_pb2" not in name])


def main_type(package: str, name: str) -> str:
    """The full name of the message with which an extension of this package is configured, by the
    last part of its well-known name; empty where there is none that can be told.
    """
    folder = _folder(package)
    if folder is None:
        return ""
    names = [each for module in _modules(folder) for each in _messages_of(module)]
    plain = name.replace("_", "").lower()
    likely = [each for each in names if each.lower() in (plain, f"{plain}config", "config")]
    return f"{package}.{likely[0]}" if likely else ""


def _messages_of(module: str) -> list[str]:
    return list(importlib.import_module(module).DESCRIPTOR.message_types_by_name)
