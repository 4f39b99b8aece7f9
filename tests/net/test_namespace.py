"""Sockets of other network namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.listen import bind, open_socket
from tcpmesh.net.namespace import network_namespace
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions

HOLD = "import sys; print(flush=True); sys.stdin.read()"


def _another() -> subprocess.Popen[bytes] | None:
    """A process in a network namespace of its own; `None` where there can be none."""
    try:
        return subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


@skipUnless(sys.platform == "linux" and os.geteuid() == 0, "it takes root to enter a namespace")
class NamespaceTests(SynchronousTestCase):
    """`network_namespace`."""

    def setUp(self) -> None:
        """A namespace with nothing in it."""
        process = _another()
        if process is None or process.stdout is None or not process.stdout.readline():
            raise self.skipTest("no namespace can be made here")
        self.addCleanup(process.wait)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            self.addCleanup(pipe.close)
        self.path = f"/proc/{process.pid}/ns/net"

    def inode(self) -> int:
        """Which namespace this thread is in."""
        return os.stat("/proc/thread-self/ns/net").st_ino

    def test_there_and_back(self) -> None:
        """The thread is there meanwhile, and here again after an error too."""
        own = self.inode()
        with self.assertRaises(RuntimeError), network_namespace(self.path):
            self.assertEqual(os.stat(self.path).st_ino, self.inode())
            self.assertNotEqual(own, self.inode())
            raise RuntimeError
        self.assertEqual(own, self.inode())

    def test_apart(self) -> None:
        """One address can be bound in each namespace."""
        address = Address("0.0.0.0", 0)
        first = bind(address, ListenOptions(reuse_port=False))
        self.addCleanup(first.close)
        open_socket(first, ListenOptions())
        taken = Address(*first.getsockname())
        second = bind(taken, ListenOptions(reuse_port=False, namespace=self.path))
        self.addCleanup(second.close)
        open_socket(second, ListenOptions())
