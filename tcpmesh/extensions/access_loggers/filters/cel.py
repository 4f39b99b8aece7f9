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
from tcpmesh.interfaces import IAccessLogFilter, ISaysWhatItWants
from tcpmesh.registry import Context, extension
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING

_HAVE_ADDRESSES = {"source", "destination", "upstream"}


@extension(cel_pb2.ExpressionFilter)
@implementer(IAccessLogFilter, ISaysWhatItWants)
class ExpressionFilter:
    """What an `ExpressionFilter` message says."""

    def __init__(self, message: Any, context: Context) -> None:
        self._expression = Expression(
            message.expression, message.cel_config.enable_string_conversion
        )
        self._node = context.node
        names = self._expression.names.keys()
        self.wants = NOTHING if names.isdisjoint(_HAVE_ADDRESSES) else EVERYTHING

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
