"""The address of this machine."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.connecting import local_address


class LocalAddressTests(SynchronousTestCase):
    """`local_address`."""

    def found(self, **addresses: str) -> str:
        """What is found where interfaces have these addresses, or none."""

        def ioctl(sock: Any, request: int, name: bytes) -> bytes:
            host = addresses[name.rstrip(b"\0").decode()]
            if not host:
                raise OSError(99, "Cannot assign requested address")
            return bytes(20) + socket.inet_aton(host) + bytes(232)

        self.patch(local_address, "ioctl", ioctl)
        self.patch(socket, "if_nameindex", lambda: list(enumerate(addresses, 1)))
        return local_address.local_address()

    def test_interfaces(self) -> None:
        """The first one that is not loopback's; else loopback's."""
        self.assertEqual("10.0.0.1", self.found(lo="127.0.0.1", a="", b="10.0.0.1", c="10.0.0.2"))
        self.assertEqual("127.0.0.1", self.found(lo="127.0.0.1", a=""))

    def test_here(self) -> None:
        """On this machine there is one."""
        socket.inet_aton(local_address.local_address())
