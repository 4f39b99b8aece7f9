"""A transport socket of another package's: what its configuration, a `HeaderValue`, names is one of
the wrappers of `tcpmesh.testing.wrappers`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValue
from zope.interface import implementer

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.config.messages import types
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    ITransportSocketFactory,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.registry import Context, extension
from tcpmesh.testing import wrappers

TYPE: str = HeaderValue.DESCRIPTOR.full_name

closed: list[str] = []
"""The factories that were closed."""


@extension(HeaderValue)
@implementer(IDownstreamTransportSocketFactory, IUpstreamTransportSocketFactory)
class NamedSocket:
    """Wraps with a wrapper by name."""

    wraps = True

    def __init__(self, message: Any, context: Context) -> None:
        self._name: str = message.value
        self._make: Any = getattr(wrappers, f"{message.value.capitalize()}Transport")
        self._clock = context.network.clock

    def accepted(self, connection: Any, observer: Any) -> Any:
        """Wrap a client."""
        return self._make(self._clock, observer, False)

    def connected(self, address: Any, observer: Any, options: Any) -> Any:
        """Wrap a connection to a host."""
        return self._make(self._clock, observer, True)

    def close(self) -> None:
        """Remembered."""
        closed.append(self._name)


@implementer(ITransportSocketFactory)
class NowhereSocket:
    """One that can stand on neither side."""

    wraps = True

    def __init__(self, message: Any, context: Context) -> None:
        """Nothing is configured."""

    def close(self) -> None:
        """Nothing is held."""


def socket_yaml(name: str) -> str:
    """The field `transport_socket` with the wrapper of this name."""
    config = f'{{"@type": type.googleapis.com/{TYPE}, key: x, value: {name}}}'
    return f"transport_socket: {{name: test, typed_config: {config}}}"


def install(test: SynchronousTestCase) -> None:
    """Let a package be installed, for one test, that names this module."""
    entry = EntryPoint(TYPE, __name__, registry.GROUP)
    for module in (types, registry):
        test.patch(module, "entry_points", lambda group: [entry])
    closed.clear()
