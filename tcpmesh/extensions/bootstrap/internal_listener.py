"""`envoy.extensions.bootstrap.internal_listener.v3.InternalListener`: there may be internal
listeners, and this is how many bytes fit into each direction of a connection to one.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IBootstrapExtension
from tcpmesh.registry import MainContext, extension

BUFFER_KB = 1024
"""Of `buffer_size_kb`."""


@extension(internal_listener_pb2.InternalListener)
@implementer(IBootstrapExtension)
class InternalListener:
    """Built from an `InternalListener` message."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self.internal_buffer: int = (message.buffer_size_kb.value or BUFFER_KB) * 1024
