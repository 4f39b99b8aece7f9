"""Small messages as plain values."""

from __future__ import annotations

from envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from envoy.config.core.v3.socket_option_pb2 import SocketOption
from google.protobuf.duration_pb2 import Duration

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.values import host_and_port, pipe_mode, seconds, socket_options


class ValueTests(SynchronousTestCase):
    """Addresses and times."""

    def test_socket_address(self) -> None:
        """A socket address is its host and port."""
        address = Address(socket_address=SocketAddress(address="::1", port_value=80))

        self.assertEqual((("::1", 80), None), (host_and_port(address), pipe_mode(address)))

    def test_long_form(self) -> None:
        """An IPv6 address is told in its shortest form, as Envoy tells it; what is none stays as it
        is.
        """
        forms = {
            "0:0:0:0:0:0:0:1": "::1",
            "2001:0DB8::0001": "2001:db8::1",
            "::FFFF:127.0.0.1": "::ffff:127.0.0.1",
            "fe80::1%lo": "fe80::1%lo",
        }
        for given, told in forms.items():
            address = Address(socket_address=SocketAddress(address=given, port_value=80))
            self.assertEqual((told, 80), host_and_port(address))

    def test_pipe(self) -> None:
        """A pipe is its path, with a mode where one is asked for."""
        address = Address(pipe=Pipe(path="@x", mode=0o600))

        self.assertEqual((("@x", 0), 0o600), (host_and_port(address), pipe_mode(address)))
        self.assertIsNone(pipe_mode(Address(pipe=Pipe(path="/x"))))

    def test_socket_options(self) -> None:
        """A socket option is for one state; one for datagrams is passed over, unless it is said to
        be for streams too.
        """
        kind = SocketOption.SocketType
        types = (kind(), kind(stream={}), kind(datagram={}), kind(stream={}, datagram={}))
        messages = [
            SocketOption(level=6, name=name, int_value=1, type=each)
            for name, each in enumerate(types)
        ]
        self.assertEqual(
            ((6, 0, 1), (6, 1, 1), (6, 3, 1)), socket_options(messages, "STATE_PREBIND")
        )
        self.assertEqual((), socket_options(messages, "STATE_BOUND"))

    def test_seconds(self) -> None:
        """A duration is a number of seconds."""
        self.assertEqual(0.25, seconds(Duration(nanos=250_000_000)))
