"""Messages that are nested deep, as bytes."""

from __future__ import annotations

import contextlib

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.link.deep import MOST, read_message


def struct(levels: int) -> Struct:
    """A mapping with so many levels, one of which has more than the next."""
    made = inner = Struct()
    for level in range(levels):
        if level == 3:
            inner.update({"text": "b", "list": [{"c": 1}, True]})
        inner = inner.fields["a"].struct_value
    inner.fields["a"].number_value = 1
    return made


class DeepTests(SynchronousTestCase):
    """What is written is read again."""

    def test_depths(self) -> None:
        """Mappings of any depth that a text may have come through, and all that stands beside."""
        for levels in (1, 32, 33, 34, 60, 99):
            cluster = Cluster(name="c")
            cluster.metadata.filter_metadata["n"].CopyFrom(struct(levels))
            cluster.load_assignment.endpoints.add().lb_endpoints.add().metadata.CopyFrom(
                cluster.metadata
            )
            cluster.connect_timeout.seconds = 3
            self.assertEqual(cluster, read_message(Cluster, cluster.SerializeToString()))

    def test_too_deep(self) -> None:
        """There is an end to it, which the interpreter's stack does not set."""
        data = struct(2 * MOST).SerializeToString()
        self.assertRaises(DecodeError, read_message, Struct, data)

    @given(st.binary(max_size=60))
    def test_garbage(self, data: bytes) -> None:
        """Bytes that are no message are refused, or read as protobuf reads them."""
        try:
            found = Struct.FromString(data)
        except DecodeError:
            self.assertRaises(DecodeError, read_message, Struct, data)
        else:
            self.assertEqual(found, read_message(Struct, data))

    @given(st.integers(0, 4000), st.integers(1, 255))
    def test_broken(self, place: int, change: int) -> None:
        """A deep message with a byte that is another one is refused, or read as something."""
        data = bytearray(struct(60).SerializeToString())
        data[place % len(data)] ^= change
        with contextlib.suppress(DecodeError):
            read_message(Struct, bytes(data))
