"""Listening sockets that a process is started with."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.epoll.network import EpollNetwork
from tcpmesh.net.inherited import Inherited, InheritedSockets, inherited_sockets
from tcpmesh.net.listen import BindError
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions, SocketOption

FIRST = 700
"""Instead of descriptor 3, which the test run has for something else."""


class InheritedSocketsTests(SynchronousTestCase):
    """Two sockets on loopback and one with a path."""

    def setUp(self) -> None:
        """All three listen."""
        self.path = self.mktemp()
        self.tcp = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.path)
        self.unix.listen()
        self.sockets = [*self.tcp, self.unix]
        for each in self.sockets:
            self.addCleanup(each.close)
        self.addresses = [
            Address.from_sockaddr(each.family, each.getsockname()) for each in self.sockets
        ]

    def inherited(self, *names: str) -> InheritedSockets:
        """All three, by these names."""
        found = InheritedSockets(
            map(Inherited, (*names, "", "", "")[:3], self.addresses, self.sockets)
        )
        self.addCleanup(found.close)
        return found

    def started(self, names: str | None = None, **more: str) -> InheritedSockets:
        """All three, as a service manager hands them over."""
        for index, each in enumerate(self.sockets):
            os.dup2(each.fileno(), FIRST + index)
        self.environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "A": "b", **more}
        if names is not None:
            self.environ["LISTEN_FDNAMES"] = names
        found = inherited_sockets(self.environ, FIRST)
        self.addCleanup(found.close)
        return found

    def take(self, inherited: InheritedSockets, address: Address, name: str = "") -> Address | None:
        """The address of the socket that a listener gets."""
        sock = inherited.take(address, ListenOptions(name=name))
        if sock is None:
            return None
        self.addCleanup(sock.close)
        return Address.from_sockaddr(sock.family, sock.getsockname())

    def test_by_address(self) -> None:
        """A listener gets the socket of its address, TCP or unix, and where there is none it binds
        by itself; it may come again.
        """
        inherited = self.inherited("x", "y", "z")
        for address in (*self.addresses, self.addresses[0]):
            self.assertEqual(address, self.take(inherited, address))
        self.assertIs(None, self.take(inherited, Address("127.0.0.1", 1)))

    def test_by_name(self) -> None:
        """A listener gets the socket of its name, whatever address it has, and no other one by its
        name.
        """
        inherited = self.inherited("x", "", "z")
        first, second, unix = self.addresses
        self.assertEqual(unix, self.take(inherited, first, "z"))
        self.assertEqual(second, self.take(inherited, second, "nobody"))
        self.assertEqual(second, self.take(inherited, second, ""))

    def test_namespace(self) -> None:
        """An address in another network namespace is another one; a name is not."""
        inherited = self.inherited("x")
        address = self.addresses[0]
        options = ListenOptions(name="y", namespace="/run/netns/y")
        self.assertIs(None, inherited.take(address, options))
        options = ListenOptions(name="x", namespace="/run/netns/y")
        sock = inherited.take(address, options)
        assert sock is not None
        sock.close()

    def test_untaken(self) -> None:
        """What nobody has taken is told."""
        inherited = self.inherited("x")
        self.take(inherited, self.addresses[1])
        self.assertEqual(
            [f"'x' of {self.addresses[0]}", f"of {self.addresses[2]}"], inherited.untaken()
        )

    def test_options(self) -> None:
        """The socket is as the listener says, as far as that can be changed."""
        on = SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        buffer = SocketOption(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.tcp[0].setblocking(True)
        sock = self.inherited().take(
            self.addresses[0], ListenOptions(before_bind=(buffer,), after_bind=(on,))
        )
        assert sock is not None
        self.addCleanup(sock.close)
        self.assertEqual(1, sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(8192, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        self.assertEqual(1, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertFalse(sock.getblocking())

    def test_refused_option(self) -> None:
        """An option that the system refuses is an error that names the socket, and leaves no
        descriptor.
        """
        wrong = SocketOption(socket.SOL_SOCKET, 12345, 1)
        inherited = self.inherited("x")
        before = len(os.listdir("/proc/self/fd"))
        error = self.assertRaises(
            BindError, inherited.take, self.addresses[0], ListenOptions(after_bind=(wrong,))
        )
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
        self.assertEqual(
            f"cannot use the socket 'x' of {self.addresses[0]}: "
            "socket option 1/12345: Protocol not available",
            str(error),
        )

    def test_path_stays(self) -> None:
        """The path of a unix socket that was not bound here is not removed here."""
        sock = self.inherited().take(self.addresses[2], ListenOptions())
        assert sock is not None
        sock.close_unopened()
        self.assertTrue(os.path.exists(self.path))

    # From the environment

    def test_environment(self) -> None:
        """Descriptors come by number, with names or without, and are closed to programs that this
        one starts; those are not told of them.
        """
        for names, expected in (
            (None, ["", "", ""]),
            ("x:y:z", ["x", "y", "z"]),
            ("x", ["x", "", ""]),
            ("", ["", "", ""]),
        ):
            inherited = self.started(names)
            self.assertEqual(
                [
                    f"'{name}' of {each}" if name else f"of {each}"
                    for name, each in zip(expected, self.addresses, strict=True)
                ],
                inherited.untaken(),
            )
            self.assertEqual({"A": "b"}, self.environ)
            flags = [fcntl.fcntl(FIRST + index, fcntl.F_GETFD) for index in range(3)]
            self.assertEqual([fcntl.FD_CLOEXEC] * 3, flags)
            inherited.close()
            self.assertRaises(OSError, os.fstat, FIRST)

    def test_another_process(self) -> None:
        """What was meant for another process, or says no number, is left alone."""
        for more in (
            {"LISTEN_PID": str(os.getpid() + 1)},
            {"LISTEN_PID": ""},
            {"LISTEN_FDS": ""},
            {"LISTEN_FDS": "many"},
        ):
            self.assertEqual([], self.started(**more).untaken())
            self.assertNotIn("LISTEN_FDS", self.environ)
        for index in range(3):
            os.close(FIRST + index)

    def test_no_listening_socket(self) -> None:
        """A descriptor that is not open, no socket, or does not listen is an error of one line."""
        unopened = socket.socket()
        self.addCleanup(unopened.close)
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        self.addCleanup(os.close, reader)
        for fd, reason in (
            (-1, "Bad file descriptor"),
            (reader, "Socket operation on non-socket"),
            (unopened.fileno(), "it does not listen"),
        ):
            if fd >= 0:
                os.dup2(fd, FIRST)
            environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            error = self.assertRaises(BindError, inherited_sockets, environ, FIRST)
            self.assertEqual(
                f"descriptor {FIRST} of LISTEN_FDS is no listening socket: {reason}", str(error)
            )
            if fd >= 0:
                os.close(FIRST)


class NetworkTests(TestCase):
    """The networks, on the reactor."""

    async def test_bind(self) -> None:
        """Both kinds bind what was not inherited, and close what was with themselves."""
        for make in (EpollNetwork, StockNetwork):
            listening = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(listening.close)
            address = Address(*listening.getsockname())
            inherited = InheritedSockets([Inherited("", address, listening)])
            network: Any = make(MonotonicReactor(reactor), listening=ListeningSockets(inherited))
            taken = network.bind(address, ListenOptions())
            self.addCleanup(taken.close)
            own = network.bind(Address("127.0.0.1", 0), ListenOptions())
            self.addCleanup(own.close)
            self.assertEqual(address.port, taken.getsockname()[1])
            self.assertNotEqual(address.port, own.getsockname()[1])
            await network.stop()
            network.clock.stop()
            self.assertEqual(-1, listening.fileno())
