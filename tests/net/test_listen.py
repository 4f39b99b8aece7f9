"""Binding: what a listener's socket is, and what is said where it cannot be had."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.listen import BindError, BoundSocket, bind, open_socket
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import (
    IPPROTO_MPTCP,
    ListenOptions,
    SocketOption,
    fast_open,
    freebind,
    keepalive,
    transparent,
)


class BindTests(SynchronousTestCase):
    """`bind`, and `open_socket` after it."""

    def setUp(self) -> None:
        """A directory for unix sockets."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def bound(self, address: Address, options: ListenOptions = ListenOptions()) -> BoundSocket:  # noqa: B008 - frozen
        """A bound socket, closed after the test."""
        sock = bind(address, options)
        self.addCleanup(sock.close)
        return sock

    def refusal(self, address: Address, options: ListenOptions = ListenOptions()) -> str:  # noqa: B008 - frozen
        """What is said where the address cannot be bound."""
        return str(self.assertRaises(BindError, bind, address, options))

    def test_not_open_yet(self) -> None:
        """A bound socket refuses clients until it is opened."""
        sock = self.bound(Address("127.0.0.1", 0))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, sock.getsockname(), 5)
        open_socket(sock, ListenOptions())
        socket.create_connection(sock.getsockname(), 5).close()

    def test_any_backlog(self) -> None:
        """Any backlog that a configuration can ask for will do, be it none or more than the kernel
        knows.
        """
        for backlog in (0, 1, (1 << 32) - 1):
            sock = self.bound(Address("127.0.0.1", 0), ListenOptions(backlog=backlog))
            open_socket(sock, ListenOptions(backlog=backlog))
            socket.create_connection(sock.getsockname(), 5).close()

    def test_does_not_block(self) -> None:
        """The socket is non-blocking."""
        self.assertFalse(self.bound(Address("127.0.0.1", 0)).getblocking())

    def test_socket_options(self) -> None:
        """Options are set before and after binding, and once the socket listens."""
        level, name = socket.SOL_SOCKET, socket.SO_RCVBUF
        options = ListenOptions(
            before_bind=(SocketOption(socket.IPPROTO_IP, socket.IP_TTL, 11),),
            after_bind=(
                SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                SocketOption(level, name, 20_000),
            ),
            after_listen=(SocketOption(level, name, 40_000),),
        )
        sock = self.bound(Address("127.0.0.1", 0), options)
        self.assertEqual(11, sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        before = sock.getsockopt(level, name)
        open_socket(sock, options)
        self.assertEqual(2 * before, sock.getsockopt(level, name))

    def test_refused_option(self) -> None:
        """An option that the system does not know is named in the reason."""
        wrong = (SocketOption(99, 99, 1),)
        for options in (ListenOptions(before_bind=wrong), ListenOptions(after_bind=wrong)):
            self.assertIn("socket option 99/99", self.refusal(Address("127.0.0.1", 0), options))
        options = ListenOptions(after_listen=wrong)
        sock = self.bound(Address("127.0.0.1", 0), options)
        self.assertIn(
            "socket option 99/99", str(self.assertRaises(BindError, open_socket, sock, options))
        )

    def test_no_delay_is_inherited(self) -> None:
        """Accepted connections have TCP_NODELAY without a call of their own."""
        sock = self.bound(Address("127.0.0.1", 0))
        open_socket(sock, ListenOptions())
        with socket.create_connection(sock.getsockname(), 5):
            accepted, _ = sock.accept()
            with accepted:
                self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_shared_port(self) -> None:
        """With reuse_port, which is the default, two sockets may have one port; without it they may
        not.
        """
        first = self.bound(Address("127.0.0.1", 0))
        open_socket(first, ListenOptions())
        address = Address(*first.getsockname())
        self.bound(address)
        self.assertIn(
            f"cannot bind '{address}': Address already in use",
            self.refusal(address, ListenOptions(reuse_port=False)),
        )

    def test_two_families(self) -> None:
        """The IPv6 wildcard leaves IPv4 alone: both can be bound on one port."""
        first = self.bound(Address("::", 0), ListenOptions(reuse_port=False))
        self.bound(Address("0.0.0.0", first.getsockname()[1]), ListenOptions(reuse_port=False))

    def test_dual_stack(self) -> None:
        """An IPv6 socket takes clients by IPv4 too where that is asked for."""
        sock = self.bound(Address("::", 0), ListenOptions(dual_stack=True))
        open_socket(sock, ListenOptions())
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1]), 5):
            _, peer = sock.accept()
        self.assertEqual("127.0.0.1", Address.of_end(socket.AF_INET6, peer).host)

    @skipUnless(sys.platform == "linux", "options of Linux")
    def test_freebind(self) -> None:
        """With freebind an address that no interface has can be bound, of either family."""
        for host in ("192.0.2.1", "2001:db8::1"):
            address = Address(host, 0)
            self.refusal(address)
            self.bound(address, ListenOptions(before_bind=(freebind(address.family),)))

    @skipUnless(sys.platform == "linux" and os.geteuid() == 0, "IP_TRANSPARENT needs root")
    def test_transparent(self) -> None:
        """A transparent socket binds what it likes, of either family."""
        for host in ("192.0.2.1", "2001:db8::1"):
            address = Address(host, 0)
            self.bound(address, ListenOptions(before_bind=(transparent(address.family),)))

    @skipUnless(sys.platform == "linux", "options of Linux")
    def test_fast_open(self) -> None:
        """A listening socket takes as many clients ahead of their handshakes as are asked for."""
        sock = self.bound(Address("127.0.0.1", 0))
        open_socket(sock, ListenOptions(after_listen=(fast_open(7),)))
        self.assertEqual(7, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN))

    @skipUnless(sys.platform == "linux", "clients inherit what Linux lets them")
    def test_keepalive_is_inherited(self) -> None:
        """Clients are probed as the listening socket is told."""
        options = ListenOptions(before_bind=keepalive(3, 70, 11))
        sock = self.bound(Address("127.0.0.1", 0), options)
        open_socket(sock, ListenOptions())
        with socket.create_connection(sock.getsockname(), 5):
            client, _ = sock.accept()
        self.addCleanup(client.close)
        names = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
        values = [client.getsockopt(socket.IPPROTO_TCP, name) for name in names]
        self.assertEqual([3, 70, 11], values)
        self.assertTrue(client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_multipath(self) -> None:
        """MPTCP is spoken where it is asked for, and the system has it."""
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
        except OSError:
            said = self.refusal(Address("127.0.0.1", 0), ListenOptions(multipath=True))
            self.assertIn("cannot bind", said)
        else:
            sock = self.bound(Address("127.0.0.1", 0), ListenOptions(multipath=True))
            self.assertEqual(IPPROTO_MPTCP, sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))

    @skipUnless(sys.platform == "linux", "namespaces of Linux")
    def test_namespace(self) -> None:
        """A socket of a network namespace is bound there, and the thread comes back; one that is
        not there is an error that says so.
        """
        own = os.stat("/proc/thread-self/ns/net").st_ino
        said = self.refusal(Address("127.0.0.1", 0), ListenOptions(namespace="/nowhere"))
        self.assertIn("No such file", said)
        here = ListenOptions(namespace="/proc/self/ns/net")
        try:
            self.bound(Address("127.0.0.1", 0), here)
        except BindError as e:
            self.assertIn("Operation not permitted", str(e))
        self.assertEqual(own, os.stat("/proc/thread-self/ns/net").st_ino)

    def test_foreign_address(self) -> None:
        """An address of no interface is refused, with the address and why."""
        self.assertEqual(
            "cannot bind '203.0.113.7:80': Cannot assign requested address (no interface of "
            "this machine has that address)",
            self.refusal(Address("203.0.113.7", 80)),
        )

    @skipIf(os.geteuid() == 0, "root may bind any port")
    def test_privileged_port(self) -> None:
        """A port below 1024 that may not be bound: the text says what would help."""
        self.assertIn("CAP_NET_BIND_SERVICE", self.refusal(Address("127.0.0.1", 1)))

    @skipUnless(os.geteuid() == 0, "only root can become another user and back")
    def test_privileged_port_as_another_user(self) -> None:
        """The same for a process that is root no more."""
        lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        if lowest <= 1:
            return
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertIn("CAP_NET_BIND_SERVICE", self.refusal(Address("127.0.0.1", 1)))

    def test_unix_socket(self) -> None:
        """A unix socket is bound with the permissions that were asked for."""
        path = self.directory / "s"
        sock = self.bound(Address(str(path)), ListenOptions(mode=0o600))
        open_socket(sock, ListenOptions())
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))

    def test_live_unix_socket(self) -> None:
        """The socket of a process that listens there is left alone, also where its queue is full,
        and that is said.
        """
        path = self.directory / "s"
        for backlog in (1, 0):
            first = self.bound(Address(str(path)))
            open_socket(first, ListenOptions(backlog=backlog))
            clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
            for client in clients:
                client.setblocking(False)
                client.connect_ex(str(path))
            self.assertEqual(
                f"cannot bind '{path}': another process listens there",
                self.refusal(Address(str(path))),
            )
            first.accept()[0].close()
            for sock in (*clients, first):
                sock.close()

    def test_unopened_unix_socket(self) -> None:
        """A socket that was bound and is closed before it was opened leaves no file behind, and
        takes none that belongs to somebody else by then.
        """
        path = self.directory / "s"
        self.bound(Address(str(path))).close_unopened()
        self.assertFalse(path.exists())
        first = self.bound(Address(str(path)))
        self.bound(Address(str(path)))  # by somebody who takes the first for left behind
        first.close_unopened()
        self.assertTrue(path.exists())
        wrong = ListenOptions(after_bind=(SocketOption(99, 99, 1),))
        path.unlink()
        self.refusal(Address(str(path)), wrong)
        self.assertFalse(path.exists())

    def test_stale_unix_socket(self) -> None:
        """A socket that an earlier process left behind is replaced."""
        path = self.directory / "s"
        bind(Address(str(path)), ListenOptions()).close()
        self.assertTrue(path.exists())
        open_socket(self.bound(Address(str(path))), ListenOptions())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_file_in_the_way(self) -> None:
        """A file that is no socket is left alone, and said to be in the way."""
        path = self.directory / "precious"
        path.write_text("data")
        self.assertIn(f"cannot bind '{path}'", self.refusal(Address(str(path))))
        self.assertEqual("data", path.read_text())

    def test_abstract_unix_socket(self) -> None:
        """An abstract socket needs no file, and a mode is nothing to it."""
        address = Address(f"@tcpmesh-test-{os.getpid()}")
        open_socket(self.bound(address, ListenOptions(mode=0o600)), ListenOptions())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.sockaddr)

    def test_path_too_long(self) -> None:
        """A path longer than the kernel takes is a BindError like others."""
        self.assertIn("cannot bind '/xxx", self.refusal(Address("/" + "x" * 200)))

    def test_backlog(self) -> None:
        """A backlog of n holds n + 1 clients that nobody accepts; the next gets no answer."""
        sock = self.bound(Address("127.0.0.1", 0))
        open_socket(sock, ListenOptions(backlog=1))
        for _ in range(2):
            self.addCleanup(socket.create_connection(sock.getsockname(), 5).close)
        self.assertRaises(TimeoutError, socket.create_connection, sock.getsockname(), 0.05)
