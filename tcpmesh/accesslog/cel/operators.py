"""The operators CEL and TYPED_CEL: what an expression comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.accesslog.cel.attributes import variables
from tcpmesh.accesslog.cel.texts import text_of, value_of
from tcpmesh.accesslog.fields.value import Build, Value, Yield
from tcpmesh.config.fields.cel import BadExpression, Expression, NoValue
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


def _cel(show: Callable[[Any], Value], node: Any) -> Build:
    def build(operator: Operator) -> Yield:
        try:
            expression = Expression(operator.argument or "")
        except BadExpression as error:
            raise FormatError(f"{operator.name}: {error}") from None
        names = expression.names

        def value(info: StreamInfo, at: Moment) -> Value:
            try:
                return show(expression.value(variables(names, node, info, at)))
            except NoValue:
                return None

        return value

    return build


def cel_operators(node: Any) -> dict[str, Build]:
    """Both, for a proxy that is this `core.v3.Node`, or `None`."""
    return {"CEL": _cel(text_of, node), "TYPED_CEL": _cel(value_of, node)}
