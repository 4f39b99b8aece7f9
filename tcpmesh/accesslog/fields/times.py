"""Operators for points in time and for how long something took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tcpmesh.accesslog.fields.time_format import LOCAL_FORMAT, UTC_FORMAT, TimeFormat
from tcpmesh.accesslog.fields.value import Build, Value, Yield, always
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

Point: TypeAlias = "float | None"
"""Seconds of the network's clock; `None` for what has not happened."""


def _time(local: bool, emit: bool) -> Build:
    def build(operator: Operator) -> Yield:
        text = operator.argument or (LOCAL_FORMAT if local else UTC_FORMAT)
        try:
            show = TimeFormat(text, local).format
        except ValueError as error:
            raise FormatError(
                f"{operator.name} has a format that the system refuses: {error}"
            ) from None
        if emit:
            return lambda info, at: show(at.wall)
        return lambda info, at: show(at.wall - (at.seconds - info.started))

    return build


def _duration(info: StreamInfo, at: Moment) -> Value:
    """Milliseconds: of a connection that has not ended, until now."""
    ended = info.ended
    return int(((at.seconds if ended is None else ended) - info.started) * 1000)


_POINTS: dict[str, Callable[[StreamInfo], Point]] = {
    "DS_RX_BEG": lambda info: info.started,
    "DS_CX_BEG": lambda info: info.started,
    "DS_CX_END": lambda info: info.ended,
    "US_CX_BEG": lambda info: info.upstream.connected_from,
    "US_CX_END": lambda info: info.upstream.connect_ended,
}
"""The points that a TCP connection without TLS has; the others are absent."""

_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def _common_duration(operator: Operator) -> Yield:
    begin, end, precision = (*(operator.argument or ":").split(":"), "ms")[:3]
    if begin not in _POINTS or end not in _POINTS:
        return always(None)
    first, last, per_second = _POINTS[begin], _POINTS[end], _PER_SECOND[precision]

    def value(info: StreamInfo, at: Moment) -> Value:
        began, ended = first(info), last(info)
        if began is None or ended is None or ended < began:
            return None
        return int((ended - began) * per_second)

    return value


def pool_ready_seconds(info: StreamInfo) -> float | None:
    """Seconds from the first attempt until there was a connection, or there was none to be
    had.
    """
    upstream = info.upstream
    ended = upstream.gave_up if upstream.connect_ended is None else upstream.connect_ended
    if ended is None:
        return None
    asked = upstream.asked
    return 0.0 if asked is None else ended - asked


def _pool_ready(info: StreamInfo, at: Moment) -> Value:
    seconds = pool_ready_seconds(info)
    return None if seconds is None else int(seconds * 1000)


OPERATORS: dict[str, Build] = {
    "START_TIME": _time(local=False, emit=False),
    "START_TIME_LOCAL": _time(local=True, emit=False),
    "EMIT_TIME": _time(local=False, emit=True),
    "EMIT_TIME_LOCAL": _time(local=True, emit=True),
    "DURATION": lambda operator: _duration,
    "COMMON_DURATION": _common_duration,
    "UPSTREAM_CONNECTION_POOL_READY_DURATION": lambda operator: _pool_ready,
}
