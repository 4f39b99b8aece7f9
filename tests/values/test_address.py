"""Addresses: Envoy's text, the kernel's form, and values that compare."""

from __future__ import annotations

import os
import socket
import tempfile

from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.address import Address, relative

ports = st.integers(0, 65535)


class AddressTests(SynchronousTestCase):
    """The three families."""

    def test_text(self) -> None:
        """The text is Envoy's: IPv6 in brackets, a unix socket by its path alone."""
        self.assertEqual("127.0.0.1:80", str(Address("127.0.0.1", 80)))
        self.assertEqual("[::1]:80", str(Address("::1", 80)))
        self.assertEqual("/run/x.sock", str(Address("/run/x.sock")))
        self.assertEqual("@abstract", str(Address("@abstract")))
        self.assertEqual("<Address [::1]:80>", repr(Address("::1", 80)))

    def test_family(self) -> None:
        """The family follows from the text."""
        families = [Address(host, 1).family for host in ("10.0.0.1", "::ffff:10.0.0.1", "/x", "@x")]
        self.assertEqual(
            [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_UNIX], families
        )

    def test_is_an_address(self) -> None:
        """It provides Twisted's IAddress."""
        verifyObject(IAddress, Address("127.0.0.1", 1))

    def test_unequal(self) -> None:
        """Host and port both count; nothing else is equal to an address."""
        self.assertNotEqual(Address("127.0.0.1", 1), Address("127.0.0.1", 2))
        self.assertNotEqual(Address("127.0.0.1", 1), Address("127.0.0.2", 1))
        self.assertNotEqual(Address("127.0.0.1", 1), ("127.0.0.1", 1))

    @given(st.ip_addresses(), ports)
    def test_equal(self, ip: object, port: int) -> None:
        """Equal addresses are equal as keys, and the kernel's form leads back to the address."""
        address = Address(str(ip), port)
        self.assertEqual({address: 1}[Address(str(ip), port)], 1)
        self.assertEqual(address, Address.from_sockaddr(address.family, address.sockaddr))

    @given(st.ip_addresses(v=6), ports)
    def test_longer_kernel_form(self, ip: object, port: int) -> None:
        """The kernel gives IPv6 addresses with flow and scope, which are no part of ours."""
        self.assertEqual(
            Address(str(ip), port), Address.from_sockaddr(socket.AF_INET6, (str(ip), port, 0, 0))
        )

    def test_bound(self) -> None:
        """An address that a real socket is bound to is told as it was given."""
        with tempfile.TemporaryDirectory() as directory:
            for given_address in (
                Address(os.path.join(directory, "s")),
                Address(f"@tcpmesh-test-{os.getpid()}"),
            ):
                with socket.socket(given_address.family) as sock:
                    sock.bind(given_address.sockaddr)
                    self.assertEqual(
                        given_address, Address.from_sockaddr(sock.family, sock.getsockname())
                    )

    def test_mapped(self) -> None:
        """An end of a connection by IPv4 to an IPv6 socket is of IPv4; what such a socket is bound
        to is not.
        """
        mapped = ("::ffff:10.0.0.1", 7, 0, 0)
        self.assertEqual(Address("10.0.0.1", 7), Address.of_end(socket.AF_INET6, mapped))
        self.assertEqual(
            Address("::ffff:10.0.0.1", 7), Address.from_sockaddr(socket.AF_INET6, mapped)
        )
        self.assertEqual(Address("::1", 7), Address.of_end(socket.AF_INET6, ("::1", 7, 0, 0)))
        self.assertEqual(Address("@a"), Address.of_end(socket.AF_UNIX, b"\0a"))

    def test_relative_path(self) -> None:
        """The relative path of a unix socket is one, for the kernel as it was written."""
        here = Address(relative("l.sock"))
        self.assertEqual((socket.AF_UNIX, "l.sock"), (here.family, here.sockaddr))
        self.assertEqual(here, Address.from_sockaddr(socket.AF_UNIX, "l.sock"))
        self.assertEqual("./l.sock", str(here))
        for path in ("/a", "@a", "./a", "../a", ".a", ""):
            self.assertEqual(path, relative(path))

    def test_unnamed(self) -> None:
        """A client of a unix socket has no name: it is told as an empty abstract one."""
        near, far = socket.socketpair(socket.AF_UNIX)
        with near, far:
            self.assertEqual("@", str(Address.from_sockaddr(near.family, near.getsockname())))
