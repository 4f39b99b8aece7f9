"""COALESCE: the first of several operators that has something to say."""

from __future__ import annotations

from tcpmesh.accesslog.fields.value import Build, Value, Yield, cut_to
from tcpmesh.config.fields.operators import Operator, coalesced
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


def coalesce(operator: Operator, build: Build) -> Yield:
    """The function for the operator; `build` makes those that are inside of it."""
    asks = [(build(each), each.length) for each in coalesced(operator.argument or "")]

    def first(info: StreamInfo, at: Moment) -> Value:
        for ask, length in asks:
            value = ask(info, at)
            if isinstance(value, str):
                value = cut_to(value, length)
            if value is not None and value != "":
                return value
        return None

    return first
