"""What all loggers are that send to a collector: many of the same configuration have one sender.

Envoy does the same, in each of its threads: a log that fifty listeners name is one stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from zope.interface import implementer

from tcpmesh.interfaces import IAccessLogger
from tcpmesh.registry import Context
from tcpmesh.values.shared.objects import Closable
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

Sender = TypeVar("Sender", bound=Closable)


@implementer(IAccessLogger)
class CollectorLogger(Generic[Sender]):
    """One of those that share a sender.

    :param message: the configuration that they have in common.
    :param make: makes the sender, for the first of them.
    """

    def __init__(self, message: Any, context: Context, make: Callable[[], Sender]) -> None:
        kind = message.DESCRIPTOR.full_name
        self._key = kind, message.SerializeToString(deterministic=True)
        self._objects = context.objects
        self.sender = self._objects.obtain(self._key, make)

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Record a connection: see `IAccessLogger`."""
        raise NotImplementedError

    def close(self) -> None:
        """The last of them closes the sender."""
        self._objects.release(self._key)
