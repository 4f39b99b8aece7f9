"""What the file of a discovery has (`path_config_source`): one DiscoveryResponse, judged as the
bootstrap is, each problem with its line.

Each resource is judged for itself: one that is wrong does not keep the others out, as in Envoy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from tcpmesh.config import rules
from tcpmesh.config.load import bytes_of, document_of
from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import Wrong
from tcpmesh.config.messages.types import find_type, unpack
from tcpmesh.config.support import unsupported
from tcpmesh.config.text.problems import ConfigError, FieldPath, Place, Problem, by_place
from tcpmesh.config.text.source import (
    Document,
    Node,
    Scalar,
    Sequence,
    decode,
    taking_apart,
)
from tcpmesh.config.text.source import Mapping as MappingNode
from tcpmesh.config.text.source_map import SourceMap, flattened
from tcpmesh.facts import dataclass

LISTENER = "envoy.config.listener.v3.Listener"
CLUSTER = "envoy.config.cluster.v3.Cluster"
ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"

SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"
RUNTIME = "envoy.service.runtime.v3.Runtime"

_WRAPPED = "envoy.service.discovery.v3.Resource"
_STATIC = "static_resources"
_LISTS = {
    LISTENER: (_STATIC, "listeners"),
    CLUSTER: (_STATIC, "clusters"),
    ASSIGNMENT: (_STATIC, "clusters"),
    SECRET: (_STATIC, "secrets"),
    RUNTIME: ("layered_runtime", "layers"),
}
"""Where in a bootstrap each kind is put for its judgement; an assignment becomes that of a STATIC
cluster, and a `Runtime` a static layer.
"""

_IN_LIST = re.compile(
    r"(?:static_resources\.(?:listeners|clusters|secrets)|layered_runtime\.layers)\[(\d+)\]"
    r"(\.load_assignment|\.static_(?=layer))?"
)


Check: TypeAlias = Callable[[Any, FieldPath, Report], None]

NAME = "an EDS cluster"
"""What the cluster of an assignment is called while it is judged."""


@dataclass(frozen=True)
class Resources:
    """What a file has."""

    version: str
    """`version_info`, empty where none is given."""

    messages: tuple[Any, ...]
    """Those of the type that was asked for, without those that are wrong, in order."""

    errors: tuple[Problem, ...] = ()
    """What is wrong with the others."""

    wrong_names: frozenset[str] = frozenset()
    """The names of the others."""

    warnings: tuple[Problem, ...] = ()
    unknown_fields: int = 0
    """Fields that nobody knows, where they are let pass."""


class NotReadable(Exception):
    """A file is no DiscoveryResponse; the text says why, with lines."""


def load_resources(
    path: str,
    kind: str,
    bootstrap: Any,
    *,
    allow_unknown_fields: bool = True,
    allow_unsupported: bool = False,
    environ: Mapping[str, str] = os.environ,
    check: Check | None = None,
) -> Resources:
    """The resources of a file.

    :param path: a `.yaml`, `.yml`, `.pb` or `.pb_text` file; of any other name it is JSON.
    :param kind: `LISTENER`, `CLUSTER`, `ASSIGNMENT`, `SECRET`, or `RUNTIME`, whose messages come as
        a `bootstrap.v3.RuntimeLayer` each.
    :param bootstrap: what they are added to: its node, secrets and clusters may be meant.
    :param check: reports what else is wrong with each of them.
    :raise NotReadable: where there is no such file, or it is something else.
    """
    judged = Bootstrap()
    judged.node.CopyFrom(bootstrap.node)
    if kind != SECRET:
        judged.static_resources.secrets.extend(bootstrap.static_resources.secrets)
    documents: list[Document] = []
    try:
        reading, version = _read(path, kind, judged, allow_unknown_fields, documents)
        return _judge(path, kind, judged, reading, version, allow_unsupported, environ, check)
    except ConfigError as error:
        raise NotReadable(str(error)) from None
    finally:
        # It is done by a thread, and others would wait for all of a tree to go at once.
        for document in documents:
            for _ in taking_apart(document.root):
                pass


def _judge(
    path: str,
    kind: str,
    judged: Any,
    reading: Reading,
    version: str,
    allow_unsupported: bool,
    environ: Mapping[str, str],
    check: Check | None,
) -> Resources:
    messages = _list_of(judged, kind)
    report = Report(judged, SourceMap([reading.document], path), [reading], environ)
    report.has_cluster_discovery = report.has_listener_discovery = True  # what is not here may come
    for number, message in enumerate(messages):
        here = (_path_to(kind), number)
        rules.check(message, report, here)
        unsupported.check(message, report, allow_unsupported, here)
        if check is not None:
            check(message, here, report)
    found = by_place(set(report.problems))
    errors = [each for each in found if each.severity == "error"]
    wrong = {_index(each) for each in errors}
    if None in wrong:  # what is wrong with the whole
        raise NotReadable("\n".join(str(_named(each)) for each in errors if _index(each) is None))
    return Resources(
        version,
        tuple(
            each.load_assignment if kind == ASSIGNMENT else each
            for number, each in enumerate(messages)
            if number not in wrong
        ),
        tuple(map(_named, errors)),
        frozenset(each.name for number, each in enumerate(messages) if number in wrong),
        tuple(_named(each) for each in found if each.severity == "warning"),
        reading.unknown_fields if reading.allow_unknown_fields else 0,
    )


def _index(problem: Problem) -> int | None:
    """Which of the resources a problem is of."""
    found = _IN_LIST.match(problem.path)
    return int(found[1]) if found else None


def _named(problem: Problem) -> Problem:
    """A problem with the path that the user has written."""
    return replace(problem, path=_IN_LIST.sub(_written, problem.path))


def _written(found: re.Match[str]) -> str:
    return f"resources[{found[1]}]{'.' if found[2] == '.static_' else ''}"


def _list_of(bootstrap: Any, kind: str) -> Any:
    container, name = _LISTS[kind]
    return getattr(getattr(bootstrap, container), name)


def _path_to(kind: str) -> FieldPath:
    container, name = _LISTS[kind]
    return ((None, container), name)


def _read(
    path: str,
    kind: str,
    bootstrap: Bootstrap,
    allow_unknown_fields: bool,
    documents: list[Document],
) -> tuple[Reading, str]:
    """
    :param documents: is given what is read.
    """
    data, suffix = bytes_of(path), Path(path).suffix.lower()
    if suffix in (".pb", ".pb_text"):
        response = _parsed(data, path, is_binary=suffix == ".pb")
        for packed in response.resources:
            _add(packed, path, kind, bootstrap)
        return Reading(Document(path, "", MappingNode(0, 0))), response.version_info
    document = document_of(decode(data), path, suffix in (".yaml", ".yml"))
    documents.append(document)
    version, nodes = _parts(document)
    items = Sequence(1, 1)
    container, name = _LISTS[kind]
    root = _mapping(container, _mapping(name, items))
    items.items.extend(_judged_as(_content(document, node, kind), kind) for node in nodes)
    read = Document(path, document.text, root, document.remarks)
    documents.append(read)
    reading = Reading(read, allow_unknown_fields)
    reading.into(bootstrap)
    return reading, version


def _parsed(data: bytes, path: str, is_binary: bool) -> Any:
    from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse

    response = DiscoveryResponse()
    try:
        if is_binary:
            response.ParseFromString(data)
        else:
            for full_name in re.findall(r"\[[^\[\]\s]*/([A-Za-z0-9_.]+)\]", decode(data)):
                find_type(full_name)
            text_format.Parse(decode(data), response)
    except (DecodeError, text_format.ParseError, Wrong, RecursionError) as error:
        text = f"not a DiscoveryResponse: {error}"
        raise ConfigError((Problem(Place(path), "", text),)) from None
    return response


def _add(packed: Any, path: str, kind: str, bootstrap: Bootstrap) -> None:
    if packed.TypeName() == _WRAPPED:
        packed = _content_of(packed, path).resource
    if packed.TypeName() != kind:
        raise ConfigError((Problem(Place(path), "resources", _other(packed.TypeName(), kind)),))
    content = _content_of(packed, path)
    target = _list_of(bootstrap, kind).add()
    if kind == ASSIGNMENT:
        target.load_assignment.CopyFrom(content)
        target.name = NAME
    elif kind == RUNTIME:
        target.name = content.name
        target.static_layer.CopyFrom(content.layer)
    else:
        target.CopyFrom(content)


def _content_of(packed: Any, path: str) -> Any:
    content = unpack(packed)
    if content is None:
        text = f"what a resource has is no {packed.TypeName()}"
        raise ConfigError((Problem(Place(path), "resources", text),))
    return content


def _other(found: str, kind: str) -> str:
    return f"a resource is a {found or 'message without @type'}, expected a {kind}"


def _parts(document: Document) -> tuple[str, Iterable[Node]]:
    """The version and the resources of a document.

    :raise ConfigError: where it is something else.
    """
    root = document.root
    if not isinstance(root, MappingNode):
        raise _wrong(document, root, "a DiscoveryResponse is a mapping")
    known = {"version_info", "versionInfo", "resources", "type_url", "typeUrl", "nonce"}
    for name, key in root.keys.items():
        if name not in known:
            raise _wrong(document, key, f"a DiscoveryResponse has no field {name!r}")
    version = root.items.get("version_info") or root.items.get("versionInfo")
    text = version.value if isinstance(version, Scalar) and version.value is not None else ""
    resources = root.items.get("resources")
    return str(text), flattened(resources) if resources is not None else ()


def _content(document: Document, node: Node, kind: str) -> MappingNode:
    """A resource without its `@type`, and without what wraps it."""
    if not isinstance(node, MappingNode):
        raise _wrong(document, node, "a resource is a mapping with an @type")
    url = node.items.get("@type")
    found = str(url.value).rpartition("/")[2] if isinstance(url, Scalar) else ""
    if found == _WRAPPED and "resource" in node.items:
        return _content(document, node.items["resource"], kind)
    if found != kind:
        raise _wrong(document, url or node, _other(found, kind))
    content = MappingNode(node.line, node.column)
    content.items = {name: item for name, item in node.items.items() if name != "@type"}
    content.keys = {name: key for name, key in node.keys.items() if name != "@type"}
    return content


def _judged_as(node: MappingNode, kind: str) -> MappingNode:
    """What a resource is judged as: a cluster with this assignment, a layer with these values."""
    if kind == RUNTIME:
        node.items["static_layer"] = node.items.pop("layer", MappingNode(node.line, node.column))
        node.keys["static_layer"] = node.keys.pop("layer", node)
    return _as_cluster(node) if kind == ASSIGNMENT else node


def _as_cluster(node: Node) -> MappingNode:
    """A cluster with this assignment."""
    cluster = _mapping("load_assignment", node)
    cluster.items["name"] = Scalar(node.line, node.column, NAME)
    cluster.keys["name"] = node
    return cluster


def _mapping(name: str, node: Node) -> MappingNode:
    """A mapping that nobody has written, with one field."""
    made = MappingNode(node.line, node.column)
    made.items[name] = made.keys[name] = node
    return made


def _wrong(document: Document, node: Node, text: str) -> ConfigError:
    return ConfigError((Problem(document.place(node), "", text),))
