"""The log filter of CEL: an expression of a connection's attributes.

A connection is written down where the expression is true.  What has no value, or another than true
or false, is not.

Of Envoy's this leaves out `enable_string_functions`.  And strings can be joined with `+` also
without `enable_string_concat`, where Envoy has no value for that.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from zope.interface import implementer

from tcpmesh.accesslog.cel.attributes import variables
from tcpmesh.config.fields.cel import Expression, NoValue
from tcpmesh.interfaces import IAccessLogFilter
from tcpmesh.registry import Context, extension
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_HAVE_ADDRESSES = {"source", "destination", "upstream"}


@extension(cel_pb2.ExpressionFilter)
@implementer(IAccessLogFilter)
class ExpressionFilter:
    """What an `ExpressionFilter` message says."""

    wants_idle = False

    def __init__(self, message: Any, context: Context) -> None:
        self._expression = Expression(
            message.expression, message.cel_config.enable_string_conversion
        )
        self._node = context.node
        self.wants_addresses = not self._expression.names.keys().isdisjoint(_HAVE_ADDRESSES)
        """Whether the expression may ask for an address, also after the end of a connection."""

    def passes(self, info: StreamInfo, at: Moment) -> bool:
        """Whether the expression is true of a connection."""
        expression = self._expression
        try:
            found = expression.value(variables(expression.names, self._node, info, at))
        except NoValue:
            return False
        return found.value() is True

    def close(self) -> None:
        """Nothing is held."""
