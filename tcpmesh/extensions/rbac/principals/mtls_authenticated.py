"""The principal `mtls_authenticated`: a client whose certificate was validated, perhaps with such a
name.

Unlike `authenticated` of rbac it is no client without a certificate, nor one whose certificate
nobody has held against an authority.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.rbac.principals.mtls_authenticated.v3 import mtls_authenticated_pb2
from zope.interface import implementer

from tcpmesh.config.fields.tls.parts import name_matcher
from tcpmesh.interfaces import IPrincipal
from tcpmesh.net.tls.subject_names import read_certificate, subject_names
from tcpmesh.registry import Context, extension
from tcpmesh.values.stream.stream_info import StreamInfo


@extension(mtls_authenticated_pb2.Config)
@implementer(IPrincipal)
class MtlsAuthenticated:
    """What its message says."""

    def __init__(self, message: Any, context: Context) -> None:
        self._name = (
            name_matcher(message.san_matcher).compiled()
            if message.HasField("san_matcher")
            else None
        )

    def matches(self, info: StreamInfo) -> bool:
        """Whether a client is one."""
        tls = info.tls
        if not tls.validated or not tls.peer_chain:
            return False
        if self._name is None:
            return True
        try:
            names = subject_names(read_certificate(tls.peer_chain[0]))
        except ValueError:
            return False
        return any(map(self._name, names))
