"""What a transport socket is told of one upstream connection, beyond what its cluster says: Envoy's
`TransportSocketOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TransportSocketOptions:
    """See the module's text."""

    server_name: str = ""
    """The name to ask the host for, in place of the cluster's (SNI)."""

    application_protocols: tuple[str, ...] = ()
    """What to offer the host, in place of the cluster's (ALPN)."""

    subject_names: tuple[str, ...] = ()
    """Names of which the host's certificate must have one."""

    host_name: str = ""
    """The host's own name, for a cluster that asks each host for its own."""


NO_OPTIONS = TransportSocketOptions()
