"""Whose secrets are written to a key log."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.transport_sockets.tls.key_log import KeyLogFile
from tcpmesh.net.tls.settings import KeyLog
from tcpmesh.values.address import Address


class File:
    """A file in memory."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False

    def open(self, path: str) -> Any:
        """Itself."""
        return self

    def write(self, text: str) -> None:
        """Keep it."""
        self.text += text

    def close(self) -> None:
        """Remembered."""
        self.closed = True


class Ends:
    """Addresses."""

    def __init__(self, local: str, remote: str) -> None:
        self._ends = Address(local, 1), Address(remote, 2)

    def getHost(self) -> Address:
        """This side."""
        return self._ends[0]

    def getPeer(self) -> Address:
        """The other."""
        return self._ends[1]


class KeyLogTests(SynchronousTestCase):
    """A key log."""

    def test_ranges(self) -> None:
        """Both addresses have to be in their ranges, where there are any; those of a unix socket
        are in none.
        """
        for local, remote, ends, expected in (
            ((), (), ("10.0.0.1", "10.0.0.2"), True),
            (("10.0.0.0/8",), (), ("10.0.0.1", "11.0.0.2"), True),
            (("10.0.0.0/8",), (), ("11.0.0.1", "10.0.0.2"), False),
            ((), ("::1/128", "10.0.0.2/32"), ("11.0.0.1", "10.0.0.2"), True),
            (("10.0.0.1/8",), ("10.0.0.3/32",), ("10.0.0.1", "10.0.0.2"), False),
            ((), ("0.0.0.0/0",), ("/a", "/b"), False),
        ):
            log = KeyLogFile(KeyLog("/log", local, remote), File())  # type: ignore[arg-type]
            self.assertEqual(expected, log.is_for(Ends(*ends)), (local, remote, ends))

    def test_lines(self) -> None:
        """Each secret is a line."""
        file = File()
        log = KeyLogFile(KeyLog("/log"), file)  # type: ignore[arg-type]
        log.write(b"CLIENT_RANDOM 1 2")
        log.close()
        self.assertEqual(("CLIENT_RANDOM 1 2\n", True), (file.text, file.closed))
