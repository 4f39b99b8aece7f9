"""Ids of requests."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.request_id.uuid import UuidRequestIds


class UuidTests(SynchronousTestCase):
    """Those that are UUIDs."""

    def test_random(self) -> None:
        """Each is another random UUID, of version 4."""
        context: Any = SimpleNamespace(random=Random(1))
        ids = UuidRequestIds(UuidRequestIdConfig(), context)
        found = {ids.new() for _ in range(100)}
        self.assertEqual(100, len(found))
        self.assertEqual({4}, {UUID(each).version for each in found})
