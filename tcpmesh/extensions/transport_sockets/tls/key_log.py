"""`key_log`: the secrets of handshakes, for tools that read what was recorded on the wire.

A line of it opens all that a connection said: so it is written only where a configuration asks for
it, of connections whose addresses are in its ranges.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from tcpmesh.interfaces import IAccessLogFile, IAccessLogManager
from tcpmesh.net.tls.settings import KeyLog

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class KeyLogFile:
    """The file, and whose secrets are written to it.

    :raise OSError: it cannot be opened.
    """

    def __init__(self, settings: KeyLog, files: IAccessLogManager) -> None:
        self._local, self._remote = _networks(settings.local), _networks(settings.remote)
        self._file: IAccessLogFile = files.open(settings.path)

    def is_for(self, transport: Any) -> bool:
        """Whether the secrets of a connection are written."""
        return (not self._local or _is_in(transport.getHost(), self._local)) and (
            not self._remote or _is_in(transport.getPeer(), self._remote)
        )

    def write(self, line: bytes) -> None:
        """Write a line."""
        self._file.write(line.decode("ascii", "replace") + "\n")

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def _networks(texts: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _is_in(address: Any, networks: tuple[_Network, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address.host)
    except ValueError:
        return False
    return any(found in network for network in networks)
