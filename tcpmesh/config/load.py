"""From files and arguments to a checked Bootstrap message: the one entrance of the config room."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from tcpmesh.config import collector, mistaken, rules
from tcpmesh.config.checks import unintended
from tcpmesh.config.messages.copying import copy_into
from tcpmesh.config.messages.reading import Reading
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import Wrong
from tcpmesh.config.messages.types import find_type, look_for_packages
from tcpmesh.config.schema.finder import FINDER
from tcpmesh.config.schema.newer import ENVOY
from tcpmesh.config.support import unsupported
from tcpmesh.config.text.files import content_of
from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.problems import ConfigError, Place, Problem, by_place, lines_of
from tcpmesh.config.text.source import MAX_DEPTH, Document, Scalar, decode, refuse
from tcpmesh.config.text.source import Mapping as MappingNode
from tcpmesh.config.text.source_map import SourceMap
from tcpmesh.config.text.yaml_text import parse_yaml
from tcpmesh.facts import dataclass

#: The name of the file in places of what `--config-yaml` says.
ARGUMENT = "--config-yaml"

#: The same of a message, or a mapping, that a program gives.
GIVEN = "bootstrap"

#: What nests in text format, and what it may be hidden by.
_TEXT_NESTING = re.compile(r"""\\.|[{}<>"'#\n]""", re.DOTALL)

#: The type of an Any in text format: `[type.googleapis.com/some.package.Message] {...}`.
_TEXT_TYPE = re.compile(r"\[[^\[\]\s]*/([A-Za-z0-9_.]+)\]")


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    `bootstrap` is the message, `warnings` what is legal and surely not meant, `places` knows the
    line of every field, `sources` maps the names of the files to their texts, and `unknown_fields`
    counts the fields let pass unknown.
    """

    bootstrap: Bootstrap
    warnings: tuple[Problem, ...]
    places: SourceMap
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    unknown_fields: int = 0


def load(
    config_path: str = "",
    config_yaml: str = "",
    *,
    allow_unknown_fields: bool = False,
    allow_unsupported: bool = False,
    environ: Mapping[str, str] = os.environ,
    open_files: int | None = None,
    node_arguments: Mapping[str, str] = MappingProxyType({}),
    given: Bootstrap | Mapping[str, Any] | None = None,
    argument: str = ARGUMENT,
    documents: list[Document] | None = None,
) -> Loaded:
    """Load a bootstrap from a file, from YAML text merged over it, or both.

    :param config_path: a `.yaml`, `.yml`, `.pb` or `.pb_text` file; of any other name it is JSON.
    :param given: a message, or what JSON could say, in place of a file.
    :param argument: what places in `config_yaml` are called by.
    :param allow_unknown_fields: unknown fields are warnings (`--allow-unknown-static-fields`).
    :param allow_unsupported: what tcpmesh does not support yet is a warning
        (`--allow-unsupported`).
    :param environ: where `environment_variable` of a DataSource looks.
    :param open_files: how many files the process that is to serve may open; `None` where there is
        no limit.
    :param node_arguments: what options say in place of fields of the node: see
        `tcpmesh.config.arguments`.
    :param documents: is given what was read, also where it is wrong, by a thread beside others:
        which has to take it apart when nobody asks for lines any more
        (`tcpmesh.config.text.source.taking_apart`).
    :raise ConfigError: with every problem there is.
    """
    first = config_path or (argument if given is None else GIVEN)
    if not config_path and not config_yaml and given is None:
        text = "no configuration: name a file with --config or text with --config-yaml"
        raise ConfigError((Problem(Place(first), "", text),))
    _check_schema(first)
    look_for_packages()
    readings: list[Reading] = []
    bootstrap = Bootstrap()
    # What has grown while the collector was paused it may look at afterwards, and others wait.
    paused = collector.paused() if documents is None else nullcontext()
    with suppress(MemoryError), paused:
        if config_path:
            data = bytes_of(config_path, may_wait=documents is None)
            _read_file(data, config_path, bootstrap, readings, allow_unknown_fields)
        elif given is not None:
            _read_given(given, bootstrap, readings, allow_unknown_fields)
        if config_yaml:
            document = _argument(config_yaml, argument)
            _read(document, bootstrap, readings, allow_unknown_fields)
        if documents is not None:
            documents.extend(reading.document for reading in readings)
        places = SourceMap([reading.document for reading in readings], first)
        report = Report(bootstrap, places, readings, environ, open_files, node_arguments)
        return _judge(report, readings, allow_unsupported)
    # Said here, where what was read is forgotten.
    readings.clear()
    problem = "there is not enough memory to read the configuration"
    raise ConfigError((Problem(Place(first), "", problem),))


def _check_schema(file: str) -> None:
    """Refuse to go on with messages that lack fields, because somebody imported them too early."""
    modules = FINDER.too_early()
    if modules:
        more = f" and {len(modules) - 1} more were" if modules[1:] else " was"
        text = (
            f"import tcpmesh first: {modules[0]}{more} imported before it, without fields that "
            f"Envoy {ENVOY} has"
        )
        raise ConfigError((Problem(Place(file), "", text),))


def _read_file(
    data: bytes,
    path: str,
    bootstrap: Bootstrap,
    readings: list[Reading],
    allow_unknown_fields: bool,
) -> None:
    suffix = Path(path).suffix.lower()
    if suffix == ".pb":
        readings.append(Reading(_binary(data, path, bootstrap)))
    elif suffix == ".pb_text":
        readings.append(Reading(_text_format(decode(data), path, bootstrap)))
    else:
        document = document_of(decode(data), path, suffix in (".yaml", ".yml"))
        _read(document, bootstrap, readings, allow_unknown_fields)


def document_of(text: str, path: str, is_yaml: bool) -> Document:
    """The document of a text.

    :raise ConfigError: where it is no YAML or JSON, with what it is, where that is known.
    """
    try:
        return parse_yaml(text, path) if is_yaml else _json(text, path)
    except ConfigError as error:
        raise mistaken.explained(error, text) from None


def _json(text: str, path: str) -> Document:
    """The document of a file that is no YAML by its name.

    :raise ConfigError: where it is no JSON, with a hint where it is YAML.
    """
    try:
        return parse_json(text, path)
    except ConfigError as error:
        if text.lstrip()[:1] not in ("{", "[", "") and _is_yaml(text, path):
            text = (
                "it is YAML, and a file is read as JSON, as by Envoy, unless its name ends in "
                ".yaml or .yml; without a name, give the text to --config-yaml"
            )
            problem = replace(error.problems[0], hint=text)
            raise ConfigError((problem,), sources=error.sources) from None
        raise


def _is_yaml(text: str, path: str) -> bool:
    """Whether a text is a mapping in YAML."""
    try:
        return isinstance(parse_yaml(text, path).root, MappingNode)
    except ConfigError:
        return False


def bytes_of(path: str, may_wait: bool = False) -> bytes:
    """What a file has.

    :param may_wait: whether it may be a pipe or a device.
    :raise ConfigError: where it cannot be read.
    """
    try:
        return content_of(path, may_wait)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            (Problem(Place(path), "", f"cannot read the configuration: {reason}"),)
        ) from None


def _argument(text: str, name: str) -> Document:
    clean = decode(text.encode("utf-8", "surrogateescape"))
    return document_of(clean, name, is_yaml=True)


def _read_given(
    given: Bootstrap | Mapping[str, Any],
    bootstrap: Bootstrap,
    readings: list[Reading],
    allow_unknown_fields: bool,
) -> None:
    if isinstance(given, Bootstrap):
        copy_into(bootstrap, given)
        readings.append(Reading(Document(GIVEN, "", MappingNode(0, 0))))
        return
    try:
        text = json.dumps(given, indent=1)
    except (RecursionError, TypeError, ValueError) as error:
        text = f"not what JSON could say: {error}"
        raise ConfigError((Problem(Place(GIVEN), "", text),)) from None
    _read(parse_json(text, GIVEN), bootstrap, readings, allow_unknown_fields)


def _read(
    document: Document, bootstrap: Bootstrap, readings: list[Reading], allow_unknown_fields: bool
) -> None:
    root = document.root
    if isinstance(root, Scalar) and root.value is None:
        raise refuse(
            document.file,
            document.text,
            root.line,
            root.column,
            "the document is empty (an empty configuration is {})",
        )
    mistaken.refuse_other(document)
    reading = Reading(document, allow_unknown_fields, overlay=bool(readings))
    reading.into(bootstrap)
    readings.append(reading)


def _binary(data: bytes, file: str, bootstrap: Bootstrap) -> Document:
    try:
        bootstrap.ParseFromString(data)
    except DecodeError:
        raise ConfigError((Problem(Place(file), "", "not a binary Bootstrap message"),)) from None
    return Document(file, "", MappingNode(0, 0))


def _text_format(text: str, file: str, bootstrap: Bootstrap) -> Document:
    _check_depth(text, file)
    for full_name in _TEXT_TYPE.findall(text):
        with suppress(Wrong):
            find_type(full_name)
    try:
        text_format.Parse(text, bootstrap)
    except text_format.ParseError as error:
        line, column = error.GetLine() or 1, error.GetColumn() or 1
        raise refuse(
            file, text, line, column, f"not a Bootstrap message in text format: {error}"
        ) from None
    return Document(file, text, MappingNode(0, 0))


def _check_depth(text: str, file: str) -> None:
    """Refuse a text format that is nested so deep that its parser, which calls itself, would
    fail.

    :raise ConfigError: with the first place that is too deep.
    """
    depth, hidden = 0, ""
    for found in _TEXT_NESTING.finditer(text):
        token = found[0]
        if hidden:  # by a comment or a string, neither of which goes beyond its line
            if token == "\n" or token == hidden != "#":
                hidden = ""
        elif token in "\"'#":
            hidden = token
        else:
            depth += {"{": 1, "<": 1, "}": -1, ">": -1}.get(token, 0)
            if depth > MAX_DEPTH:
                before = lines_of(text[: found.start()])
                what = f"messages nested more than {MAX_DEPTH} deep"
                raise refuse(file, text, len(before), len(before[-1]) + 1, what)


def _judge(report: Report, readings: list[Reading], allow_unsupported: bool) -> Loaded:
    rules.check(report.bootstrap, report)
    unintended.check_unused(report)
    unsupported.check(report.bootstrap, report, allow_unsupported)
    sources = {reading.document.file: reading.document.text for reading in readings}
    errors, warnings = _split(report.problems)
    if errors:
        raise ConfigError(mistaken.with_placeholders(errors, sources), warnings, sources)
    return Loaded(
        report.bootstrap,
        warnings,
        report.places,
        sources,
        sum(reading.unknown_fields for reading in readings),
    )


def _split(problems: Iterable[Problem]) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Errors and warnings, each said once and in order."""
    unique = by_place(set(problems))
    return tuple(p for p in unique if p.severity == "error"), tuple(
        p for p in unique if p.severity == "warning"
    )
