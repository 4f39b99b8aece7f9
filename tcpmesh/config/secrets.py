"""A secret that discovery brings: read from its file, judged for all who use it, and made whole
with what is in the files that it names.

A certificate and its key are two files, which somebody may replace at this moment: they are read
before and after they are judged, until both times they are the same.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf.message import Message

from tcpmesh.config import rules
from tcpmesh.config.fields.tls.secrets import CERTIFICATE, discovered_secrets
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.config.messages.report import Report
from tcpmesh.config.resources import SECRET, Resources, load_resources
from tcpmesh.config.text.problems import FieldPath, Place, Problem
from tcpmesh.config.text.source import Document
from tcpmesh.config.text.source import Mapping as MappingNode
from tcpmesh.config.text.source_map import SourceMap
from tcpmesh.facts import dataclass
from tcpmesh.values.shared.secrets import SecretKey

TRIES = 5
"""So often files are read that are being replaced."""

_SOURCE = "envoy.config.core.v3.DataSource"
_IN_FILES = ("filename", "environment_variable")


@dataclass(frozen=True)
class SecretUse:
    """How a context uses a secret, by which it is judged."""

    is_server: bool = False
    must_staple: bool = False
    """Whether a certificate has to have an OCSP response."""

    default: bytes | None = None
    """The `CertificateValidationContext` that the secret completes, or `None`."""

    needs_authority: bool = False
    """Whether a trusted CA has to come of it (`auto_sni_san_validation`)."""


@dataclass(frozen=True)
class FoundSecret:
    """A secret that may be used."""

    path: str
    """Its file."""

    message: Any
    """The `tls.v3.Secret` as its file has it."""

    whole: Any
    """The same with the contents of the files that it names."""


def secret_uses(context: Any) -> Iterator[tuple[SecretKey, Any, SecretUse]]:
    """The secrets of discovery that a `DownstreamTlsContext` or an `UpstreamTlsContext` needs: the
    key and the `SdsSecretConfig` of each, and how it is used.
    """
    common = context.common_tls_context
    is_server = isinstance(context, tls_pb2.DownstreamTlsContext)
    policy = tls_pb2.DownstreamTlsContext.MUST_STAPLE
    must_staple = is_server and context.ocsp_staple_policy == policy
    needs_authority = not is_server and context.auto_sni_san_validation
    default = None
    if common.HasField("combined_validation_context"):
        combined = common.combined_validation_context
        default = combined.default_validation_context.SerializeToString(deterministic=True)
    for key, config in discovered_secrets(common):
        yield (
            key,
            config,
            SecretUse(is_server, must_staple)
            if key[0] == CERTIFICATE
            else SecretUse(default=default, needs_authority=needs_authority),
        )


def load_secret(
    path: str,
    key: SecretKey,
    uses: Collection[SecretUse],
    bootstrap: Any,
    *,
    environ: Mapping[str, str] = os.environ,
    **how: Any,
) -> Resources:
    """The `FoundSecret` of a file, which has to have this one and no other.

    :param how: as `load_resources` takes it.
    :raise tcpmesh.config.resources.NotReadable: where there is no such file, or it is something
        else.
    """
    before: list[Any] = []

    def check(message: Any, field_path: FieldPath, report: Report) -> None:
        before.append(with_contents(message, environ))
        _check_secret(message, key, uses, field_path, report)

    found = Resources("", ())
    for _ in range(TRIES):
        before.clear()
        found = load_resources(path, SECRET, bootstrap, environ=environ, check=check, **how)
        if found.errors:
            return found
        if len(found.messages) != 1:
            return _refused(found, path, f"one secret has to be there, not {len(found.messages)}")
        whole = with_contents(found.messages[0], environ)
        if whole == before[0]:
            return replace(found, messages=(FoundSecret(path, found.messages[0], whole),))
    return _refused(found, path, "the files that it names do not stay as they are")


def read_again(
    found: FoundSecret,
    key: SecretKey,
    uses: Collection[SecretUse],
    environ: Mapping[str, str] = os.environ,
) -> FoundSecret | tuple[Problem, ...]:
    """The same secret with what its files hold now, or what is wrong with that."""
    document = Document(found.path, "", MappingNode(0, 0))
    for _ in range(TRIES):
        whole = with_contents(found.message, environ)
        report = Report(Bootstrap(), SourceMap([document], found.path), [], environ)
        rules.check(found.message, report, None)
        _check_secret(found.message, key, uses, None, report)
        errors = tuple(each for each in report.problems if each.severity == "error")
        if with_contents(found.message, environ) == whole:
            return errors or replace(found, whole=whole)
    return (Problem(Place(found.path), "", "the files do not stay as they are"),)


def with_contents(message: Any, environ: Mapping[str, str]) -> Any:
    """A copy with the contents of files and environment variables where they are named; what cannot
    be read stays named.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    for source in _sources(copy):
        if source.WhichOneof("specifier") in _IN_FILES:
            data = source_bytes(source, environ)
            if data is not None:
                source.Clear()
                source.inline_bytes = data
    return copy


@dataclass(frozen=True)
class Folders:
    """Where something happens when the files of a secret change."""

    paths: tuple[str, ...] = ()
    """Directories, each with a slash at its end."""

    writes: bool = False
    """Whether files are written in place, and not only moved there."""


def folders_of(message: Any) -> Folders:
    """What is to be looked after for the files that a `tls.v3.Secret` names."""
    files = [each.filename for each in _sources(message) if each.filename]
    content = getattr(message, message.WhichOneof("type"))
    if files and content.HasField("watched_directory"):
        directory = content.watched_directory
        return Folders((os.path.join(directory.path, ""),), directory.watch_modify)
    folders = (os.path.join(os.path.dirname(os.path.abspath(each)), "") for each in files)
    return Folders(tuple(dict.fromkeys(folders)))


def _sources(message: Message) -> Iterator[Any]:
    """The `core.v3.DataSource` in a message, at whatever depth."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            if field.message_type.full_name == _SOURCE:
                yield each
            else:
                yield from _sources(each)


def _refused(found: Resources, path: str, text: str) -> Resources:
    return replace(found, errors=(Problem(Place(path), "resources", text),))


def _check_secret(
    message: Any,
    key: SecretKey,
    uses: Collection[SecretUse],
    field_path: FieldPath,
    report: Report,
) -> None:
    """Report what keeps a secret from being used as it is."""
    # Here, as the library below is large, and few have discovery of secrets.
    from tcpmesh.config.checks.tls.certificates import check_certificate
    from tcpmesh.config.checks.tls.validation import check_validation

    kind, name = key[:2]
    if message.name != name:
        report.error((field_path, "name"), f"this is {message.name!r}, expected {name!r}")
        return
    if message.WhichOneof("type") != kind:
        text = f"the secret {name!r} is no {kind}, which is what it is used as"
        report.error(field_path, text)
        return
    here = (field_path, kind)
    for use in uses:
        if kind == CERTIFICATE:
            check_certificate(
                message.tls_certificate,
                here,
                report,
                is_server=use.is_server,
                must_staple=use.must_staple,
            )
        else:
            completed = _completed(message.validation_context, use)
            check_validation(completed, here, report)
            if use.needs_authority and not completed.HasField("trusted_ca"):
                text = "auto_sni_san_validation needs a trusted CA: set trusted_ca"
                report.error(here, text)


def _completed(context: Any, use: SecretUse) -> Any:
    if use.default is None:
        return context
    default = common_pb2.CertificateValidationContext.FromString(use.default)
    from tcpmesh.config.fields.tls.parts import merged_context

    return merged_context(default, context)
