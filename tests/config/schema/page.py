"""The list of what the set adds, for people: docs/schema.md."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from textwrap import fill

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

_HEAD = """\
# What is newer than xds-protos

The messages of a configuration are those of the package `xds-protos`. What Envoy {envoy} has beyond
its version {package} comes from `tcpmesh/config/schema/envoy.binpb`, descriptors of our own.
Without them such a field or extension would be called unknown. They are used where the installed
package has a gap, so less of them with a newer one. What tcpmesh does with a field says
[supported.md](supported.md).

`make record-schema` makes the set from what the program Envoy holds, and writes this page. The
messages of the contrib build, which the usual build refuses, are in no program on PyPI: they are
those of Envoy's public API. Left out are the schemas of other projects, such as OpenTelemetry's,
and what Envoy changed instead of adding it.

Who uses Envoy's messages beside tcpmesh imports tcpmesh first: Python's protobuf takes one
description of a message for the whole process, and the first one counts.

Messages of tcpmesh's own begin with `tcpmesh.` and are in `tcpmesh/config/schema/own/`, as `.proto`
files for whoever writes configurations by program, and compiled (`make own-schema`):
[client-limits.md](client-limits.md).
"""


def page(
    files: Iterable[FileDescriptorProto], old: Container[str], envoy: str, package: str
) -> str:
    """The page.

    :param old: the names of the files that the package has too.
    """
    filled = [file for file in files if file.name in old]
    made = [file for file in files if file.name not in old]
    contrib = [file for file in made if file.name.startswith("contrib/")]
    lines = [
        _HEAD.format(envoy=envoy, package=package),
        "## Fields, values and messages in files that the package has\n",
        *(line for file in filled for line in _additions(file)),
        "\n## Files that it lacks\n",
        *(_content(file) for file in made if file not in contrib),
        "\n## The contrib build\n",
        *(_content(file) for file in contrib),
    ]
    return "\n".join(lines) + "\n"


def _additions(file: FileDescriptorProto) -> Iterator[str]:
    for message in file.message_type:
        yield from _parts(file.package, message)
    for enum in file.enum_type:
        yield _line(f"{file.package}.{enum.name}", [value.name for value in enum.value])


def _parts(scope: str, message: DescriptorProto) -> Iterator[str]:
    name = f"{scope}.{message.name}"
    if message.options.map_entry:
        return
    names = [field.name for field in message.field]
    if names or not (message.nested_type or message.enum_type):
        yield _line(name, names)
    for inner in message.nested_type:
        yield from _parts(name, inner)
    for enum in message.enum_type:
        yield _line(f"{name}.{enum.name}", [value.name for value in enum.value])


def _content(file: FileDescriptorProto) -> str:
    names = [message.name for message in file.message_type]
    names += [enum.name for enum in file.enum_type] + [service.name for service in file.service]
    return _line(file.name, names)


def _line(name: str, names: list[str]) -> str:
    text = f"- {name}: {', '.join(names)}" if names else f"- {name}"
    return fill(text, 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
