"""Ids of requests that are random UUIDs: what a tunnel's request is known by.

Envoy packs into an id whether the request is traced; nothing is traced here, and that leaves an id
as it is.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IRequestIds
from tcpmesh.registry import WorkerContext, extension


@extension(uuid_pb2.UuidRequestIdConfig)
@implementer(IRequestIds)
class UuidRequestIds:
    """Makes them."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._random = context.random

    def new(self) -> str:
        """Another one."""
        return str(UUID(int=self._random.getrandbits(128), version=4))
