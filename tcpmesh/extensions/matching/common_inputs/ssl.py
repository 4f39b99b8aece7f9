"""The inputs of matching trees that a client's certificate has, after the TLS handshake: not those
that choose a filter chain.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IMatchInput
from tcpmesh.net.tls.subject_names import NameKind, names_of, subject_of
from tcpmesh.registry import Context, extension
from tcpmesh.values.stream.stream_info import StreamInfo


class CertificateInput:
    """An input without settings."""

    def __init__(self, message: Any, context: Context) -> None:
        """There are none."""


def _certificate(info: StreamInfo) -> bytes:
    return info.tls.peer_chain[0] if info.tls.peer_chain else b""


@extension(ssl_inputs_pb2.UriSanInput)
@implementer(IMatchInput)
class UriSanInput(CertificateInput):
    """The URIs of the client's certificate."""

    def get(self, info: StreamInfo) -> str | None:
        """With commas between."""
        return ",".join(names_of(_certificate(info), NameKind.URI)) or None


@extension(ssl_inputs_pb2.DnsSanInput)
@implementer(IMatchInput)
class DnsSanInput(CertificateInput):
    """The DNS names of the client's certificate."""

    def get(self, info: StreamInfo) -> str | None:
        """With commas between."""
        return ",".join(names_of(_certificate(info), NameKind.DNS)) or None


@extension(ssl_inputs_pb2.SubjectInput)
@implementer(IMatchInput)
class SubjectInput(CertificateInput):
    """The subject of the client's certificate."""

    def get(self, info: StreamInfo) -> str | None:
        """As RFC 2253 has it."""
        return subject_of(_certificate(info)) or None
