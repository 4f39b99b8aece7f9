"""`envoy.extensions.transport_sockets.starttls.v3`: plain bytes, until a filter asks for TLS.

Neither here nor in Envoy's usual build is there a filter that asks for it (Envoy's contrib build
has one, for PostgreSQL), so it stays with plain bytes, as it does there.  The TLS that would follow
is judged with the configuration all the same.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.starttls.v3 import starttls_pb2
from zope.interface import implementer

from tcpmesh.interfaces import ITransportSocketFactory
from tcpmesh.registry import Context, extension


@extension(starttls_pb2.StartTlsConfig)
@extension(starttls_pb2.UpstreamStartTlsConfig)
@implementer(ITransportSocketFactory)
class StartTls:
    """Puts nothing between."""

    wraps = False

    def __init__(self, message: Any, context: Context) -> None:
        """There is nothing to be made before somebody asks for it."""

    def close(self) -> None:
        """Nothing is held."""
