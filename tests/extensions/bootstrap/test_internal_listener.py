"""The bootstrap extension for internal listeners."""

from __future__ import annotations

from envoy.extensions.bootstrap.internal_listener.v3.internal_listener_pb2 import InternalListener
from google.protobuf.any_pb2 import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.registry import MainContext, build
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork


class InternalListenerTests(SynchronousTestCase):
    """What of it counts."""

    def test_buffer(self) -> None:
        """As much fits into a connection as it says, or else a megabyte."""
        for kilobytes, expected in ((None, 1 << 20), (1, 1024), (8192, 8192 * 1024)):
            message = InternalListener()
            if kilobytes is not None:
                message.buffer_size_kb.value = kilobytes
            config = Any()
            config.Pack(message)
            built = build(config, MainContext(MemoryNetwork(), Store()))
            self.assertEqual(expected, built.internal_buffer)
