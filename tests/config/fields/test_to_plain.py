"""Parts of messages as plain values."""

from __future__ import annotations

import json

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from google.protobuf.struct_pb2 import Struct

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.to_plain import REDACTED, duration_text, plain_value, whole


class PlainTests(SynchronousTestCase):
    """Short forms."""

    def test_addresses(self) -> None:
        """An address is host and port, IPv6 in brackets, or a path."""
        for host, shown in (("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")):
            self.assertEqual(
                shown,
                plain_value(Address(socket_address=SocketAddress(address=host, port_value=80))),
            )
        self.assertEqual("/run/x", plain_value(Address(pipe=Pipe(path="/run/x"))))

    def test_durations(self) -> None:
        """A duration has no needless zeros, and keeps every nanosecond."""
        self.assertEqual(
            ["5s", "0.25s", "1.000000001s", "0s"],
            [duration_text(*each) for each in ((5, 0), (0, 250_000_000), (1, 1), (0, 0))],
        )

    def test_whole_doubles(self) -> None:
        """Doubles that are whole numbers are written as such, at any depth; what is no double
        stays.
        """
        self.assertEqual(
            '{"a": [1, 1.5, true]}',
            str(whole({"a": [1.0, 1.5, True]})).replace("'", '"').replace("True", "true"),
        )
        self.assertIsInstance(whole(1e300), float)

    def test_struct(self) -> None:
        """A Struct is the mapping that it was written as, its keys sorted at every depth: a map of
        protobuf has another order in each process.
        """
        struct = Struct()
        struct.update({"y": [None, "z", {"d": 1, "c": 2, "b": 3, "a": 4}], "x": 1})

        shown = plain_value(struct)

        self.assertEqual({"x": 1, "y": [None, "z", {"a": 4, "b": 3, "c": 2, "d": 1}]}, shown)
        self.assertEqual(json.dumps(shown, sort_keys=True), json.dumps(shown))

    def test_enums(self) -> None:
        """An enum value has its name, also within a message."""
        self.assertEqual(
            {"name": "c", "lb_policy": "RANDOM"}, plain_value(Cluster(name="c", lb_policy="RANDOM"))
        )

    def test_secrets(self) -> None:
        """What the schema calls sensitive is not shown."""
        certificate = TlsCertificate()
        certificate.private_key.inline_string = "secret"

        self.assertEqual({"private_key": REDACTED}, plain_value(certificate))
