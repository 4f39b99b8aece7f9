"""Where listening sockets come from, and which there are."""

from __future__ import annotations

import os
import socket
import stat

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.inherited import Inherited, InheritedSockets
from tcpmesh.net.listen import BindError, open_socket
from tcpmesh.net.listening import Handed, ListeningSockets, listening_socket
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions, SocketOption
from tests.server.processes.watched import open_descriptors

ANY = Address("127.0.0.1", 0)


class HandedTests(SynchronousTestCase):
    """Sockets of a predecessor."""

    def listen(self, port: int = 0, host: str = "127.0.0.1") -> tuple[socket.socket, Address]:
        """A socket as a worker of the predecessor has it."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen()
        return sock, Address.from_sockaddr(sock.family, sock.getsockname())

    def sockets(self, *handed: Handed) -> ListeningSockets:
        """Those of a process."""
        found = ListeningSockets(handed=handed)
        self.addCleanup(found.close)
        return found

    def test_taken(self) -> None:
        """A listener of the same address gets the socket, once, whatever the name of the one
        before.
        """
        sock, address = self.listen()
        inode = os.fstat(sock.fileno()).st_ino
        sockets = self.sockets(Handed("a", address, "", sock))
        taken = sockets.bind(address, ListenOptions(name="b"))
        self.addCleanup(taken.close)
        self.assertEqual(inode, os.fstat(taken.fileno()).st_ino)
        self.assertEqual(0.0, taken.gettimeout())
        self.assertEqual(("b", address, ""), (taken.name, taken.asked, taken.namespace))
        self.assertEqual([taken], sockets.opened())
        other = sockets.bind(address, ListenOptions(name="b"))
        self.addCleanup(other.close)
        self.assertNotEqual(inode, os.fstat(other.fileno()).st_ino)

    def test_any_port(self) -> None:
        """A listener that asks for any port goes on with the one that it had."""
        sock, address = self.listen()
        sockets = self.sockets(Handed("a", ANY, "", sock))
        other = sockets.bind(ANY, ListenOptions(name="b"))
        self.addCleanup(other.close)
        self.assertNotEqual(address.port, other.getsockname()[1])
        taken = sockets.bind(ANY, ListenOptions(name="a"))
        self.addCleanup(taken.close)
        self.assertEqual(address.port, taken.getsockname()[1])

    def test_of_another_kind(self) -> None:
        """A socket that is not what is wanted stays with the predecessor: of another network
        namespace, another protocol, or one that takes IPv4 where this must not.
        """
        sock, address = self.listen()
        sockets = self.sockets(Handed("a", address, "/blue", sock))
        self.assertEqual([], sockets.take_rest(address, ListenOptions()))
        sock, address = self.listen()
        sockets = self.sockets(Handed("a", address, "", sock))
        self.assertEqual([], sockets.take_rest(address, ListenOptions(multipath=True)))
        sock, address = self.listen(host="::1")
        is_dual = not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sockets = self.sockets(Handed("a", address, "", sock))
        self.assertEqual([], sockets.take_rest(address, ListenOptions(dual_stack=not is_dual)))
        (taken,) = sockets.take_rest(address, ListenOptions(dual_stack=is_dual))
        taken.close()

    def test_more_than_wanted(self) -> None:
        """With fewer workers than before nobody loses the clients that wait at the others'
        sockets.
        """
        first, address = self.listen()
        others = [self.listen(address.port)[0] for _ in range(2)]
        sockets = self.sockets(*(Handed("a", address, "", each) for each in (first, *others)))
        taken = sockets.bind(address, ListenOptions())
        rest = sockets.take_rest(address, ListenOptions())
        for each in (taken, *rest):
            self.addCleanup(each.close)
        self.assertEqual(2, len(rest))
        self.assertEqual([taken, *rest], sockets.opened())
        self.assertEqual([], sockets.take_rest(address, ListenOptions()))

    def test_fewer_than_wanted(self) -> None:
        """With more workers than before the address is bound once more, or where that cannot be two
        accept from one socket; but not for a listener that comes later.
        """
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        address = Address(*listening.getsockname())
        sockets = self.sockets(Handed("a", address, "", listening))
        first, second = (sockets.bind(address, ListenOptions()) for _ in range(2))
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        self.assertEqual(os.fstat(first.fileno()).st_ino, os.fstat(second.fileno()).st_ino)
        sockets.settle()
        self.assertRaises(BindError, sockets.bind, address, ListenOptions())

    def test_unix(self) -> None:
        """The path of a unix socket stays, with the mode that is wanted now."""
        path = os.path.abspath(self.mktemp())
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            sock.listen()
            sockets = self.sockets(Handed("a", Address(path), "", sock.dup()))
        taken = sockets.bind(Address(path), ListenOptions(mode=0o640))
        self.assertEqual(0o640, stat.S_IMODE(os.stat(path).st_mode))
        taken.close_unopened()
        self.assertTrue(os.path.exists(path))

    def test_settled(self) -> None:
        """What no listener has wanted is closed; a listener of several sockets is told of once."""
        sock, address = self.listen()
        other = sock.dup()
        sockets = self.sockets(Handed("a", address, "", sock), Handed("a", address, "", other))
        self.assertEqual([f"'a' on {address}"], sockets.settle())
        self.assertEqual([-1, -1], [sock.fileno(), other.fileno()])
        self.assertEqual([], sockets.settle())

    def test_wrong_option(self) -> None:
        """An option that the system refuses is an error that names the address."""
        sock, address = self.listen()
        sockets = self.sockets(Handed("a", address, "", sock))
        options = ListenOptions(after_bind=(SocketOption(1, 9999, 1),))
        error = self.assertRaises(BindError, sockets.bind, address, options)
        self.assertIn(f"cannot take over '{address}': socket option 1/9999", str(error))

    def test_inherited_first(self) -> None:
        """What the service manager has bound is not asked of the predecessor."""
        sock, address = self.listen()
        kept, _ = self.listen(address.port)
        inherited = InheritedSockets([Inherited("", address, kept)])
        sockets = ListeningSockets(inherited, [Handed("a", address, "", sock)])
        self.addCleanup(sockets.close)
        taken = sockets.bind(address, ListenOptions())
        self.addCleanup(taken.close)
        self.assertEqual(os.fstat(kept.fileno()).st_ino, os.fstat(taken.fileno()).st_ino)


class OpenedTests(SynchronousTestCase):
    """Sockets that can be handed over."""

    def test_opened(self) -> None:
        """Those that listen, in order, and their duplicates; not what is bound alone, or closed."""
        sockets = ListeningSockets()
        made = [sockets.bind(ANY, ListenOptions(name=str(number))) for number in range(3)]
        for each in made[:2]:
            self.addCleanup(each.close)
            open_socket(each, ListenOptions())
        self.addCleanup(made[2].close)
        copy = made[0].dup()
        made[0].close()
        self.assertEqual([made[1], copy], sockets.opened())
        self.assertEqual(("0", ANY), (copy.name, copy.asked))
        copy.close()
        self.assertEqual([made[1]], sockets.opened())

    def test_listening_socket(self) -> None:
        """A descriptor that is no listening socket is closed."""
        before = open_descriptors()
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                self.assertRaises(OSError, listening_socket, os.dup(sock.fileno()))
        with socket.create_server(("127.0.0.1", 0)) as sock:
            found = listening_socket(os.dup(sock.fileno()))
            self.assertEqual(sock.getsockname(), found.getsockname())
            found.close()
        self.assertEqual(before, open_descriptors())
