"""The logger that makes statistics of connections (`envoy.extensions.access_loggers.stats.v3`):
counters, gauges and histograms, whose values and tags are formats.

What is left of Envoy's: `stats_scope`, with the eviction of what is not used, and `rules` of tags.
Tags may be what clients send, so here there are at most `MOST_NAMES` statistics of one logger: what
would need another one is counted in `access_logs.stats.dropped`, which is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from zope.interface import implementer

from tcpmesh.accesslog.operators import Operators
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import IAccessLogger
from tcpmesh.registry import Context, extension
from tcpmesh.stats.metrics import Gauge, Merge
from tcpmesh.stats.store import sanitize
from tcpmesh.values.stream.filter_state import StateObject
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import StreamInfo

MOST_NAMES = 10_000
"""Statistics of one logger."""

ADDED = "envoy.access_loggers.stats.access_log_state"
"""The filter state that holds what a connection has added to gauges."""

UNITS = {1: "bytes", 2: "us", 3: "ms", 4: "percent"}
"""By the numbers of `Config.Histogram.Unit`."""

_LINES = str.maketrans("\r\n\0", "___")

Value = Callable[[StreamInfo, Moment], "float | None"]
Move = Callable[[StreamInfo, Moment], None]


class Amounts:
    """What a connection has added to gauges, which is taken back once nothing is known of it any
    more.
    """

    __slots__ = ("by_gauge",)

    def __init__(self) -> None:
        self.by_gauge: dict[Gauge, int] = {}

    def __del__(self) -> None:
        for gauge, amount in self.by_gauge.items():
            gauge.add(-amount)


@dataclass(frozen=True)
class Added(StateObject):
    """The same as filter state, for as long as the connection is known."""

    amounts: Amounts


class Named:
    """The statistics of one `Config.Stat`: one for each combination of tags.

    :param make: makes the statistic of a name.
    """

    def __init__(self, message: Any, owner: StatsAccessLog, make: Callable[[str], Any]) -> None:
        self._owner = owner
        self._make = make
        self._name = sanitize(message.name)
        self._tags = [
            (tag.name, TextFormat(tag.value_format, True, owner.known).format)
            for tag in message.tags
        ]
        self._made: dict[tuple[str, ...], Any] = {}

    def find(self, info: StreamInfo, at: Moment) -> Any:
        """The statistic for a connection; `None` where there are too many."""
        values = tuple(words(info, at) for _, words in self._tags)
        made = self._made.get(values)
        if made is None and self._owner.may_make():
            tags = tuple((name, value) for (name, _), value in zip(self._tags, values, strict=True))
            made = self._made[values] = self._make_tagged(tags)
        return made

    def _make_tagged(self, tags: tuple[tuple[str, str], ...]) -> Any:
        parts = (self._name, *(part for tag in tags for part in tag))
        made = self._make(".".join(parts).translate(_LINES))
        self._owner.give_tags(made, self._name, tags)
        return made


@implementer(IAccessLogger)
@extension(stats_pb2.Config)
class StatsAccessLog:
    """Counts connections as a configuration says."""

    def __init__(self, message: Any, context: Context) -> None:
        self.known = Operators(context.node)
        self._tagger = context.store.tagger
        scope = self._scope = context.store.scope(sanitize(message.stat_prefix))
        self._dropped = context.store.counter("access_logs.stats.dropped")
        self._names = 0
        # Asked by name, as a store's attributes of these names tell statistics, which nobody reads.
        wanted = {kind: getattr(message, kind) for kind in ("counters", "histograms", "gauges")}
        self._counters = [
            (Named(each.stat, self, scope.counter), self._value(each))
            for each in wanted["counters"]
        ]
        self._histograms = [
            (Named(each.stat, self, self._make_histogram(each.unit)), self._value(each))
            for each in wanted["histograms"]
        ]
        self._gauges = [self._gauge(each) for each in wanted["gauges"]]

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Count a connection."""
        for named, ask in self._histograms:
            value = ask(info, at)
            if value is not None and (histogram := named.find(info, at)) is not None:
                histogram.record(value)
        for named, ask in self._counters:
            value = ask(info, at)
            if value is not None and (counter := named.find(info, at)) is not None:
                counter.tally += int(value)
        for moves in self._gauges:
            move = moves.get(at.log_type)
            if move is not None:
                move(info, at)

    def close(self) -> None:
        """Its statistics go, but for those that another logger has too."""
        self._scope.close()

    # For its statistics

    def may_make(self) -> bool:
        """Whether there may be a name more; otherwise it is counted."""
        if self._names < MOST_NAMES:
            self._names += 1
            return True
        self._dropped.tally += 1
        return False

    def give_tags(self, stat: Any, name: str, tags: tuple[tuple[str, str], ...]) -> None:
        """A statistic has these tags, and no others."""
        self._tagger.give(stat.name, (self._scope.prefix + name, tags))

    def _make_histogram(self, unit: int) -> Callable[[str], Any]:
        return lambda name: self._scope.histogram(name, UNITS.get(unit, ""))

    def _value(self, message: Any) -> Value:
        has_fixed = "value_fixed" in message.DESCRIPTOR.fields_by_name
        if has_fixed and message.HasField("value_fixed"):
            fixed = float(message.value_fixed.value)
            return lambda info, at: fixed
        (operator,) = self.known.parse(message.value_format)
        ask: Any = self.known.build(operator)  # type: ignore[arg-type]
        return lambda info, at: number(ask(info, at))

    # Gauges

    def _gauge(self, message: Any) -> dict[LogType | None, Move]:
        """What is done at which records."""
        ask = self._value(message)
        if message.HasField("set"):
            named = Named(message.stat, self, lambda name: self._scope.gauge(name, Merge.MAX))
            return {_log_type(message.set.log_type): _setting(named, ask)}
        named = Named(message.stat, self, lambda name: self._scope.gauge(name, Merge.SUM))
        pair = message.add_subtract
        return {
            _log_type(pair.add_log_type): _adding(named, ask),
            _log_type(pair.sub_log_type): _subtracting(named),
        }


def number(value: object) -> float | None:
    """The number that an operator yields; `None` where it is none, or less than 0."""
    text = str(value)
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _log_type(number: int) -> LogType | None:
    """The type of this number; `None` where no TCP connection has it."""
    name = AccessLogType.Name(number)
    return next((each for each in LogType if each.value == name), None)


def _setting(named: Named, ask: Value) -> Move:
    def move(info: StreamInfo, at: Moment) -> None:
        value = ask(info, at)
        if value is not None and (gauge := named.find(info, at)) is not None:
            gauge.set(int(value))

    return move


def _adding(named: Named, ask: Value) -> Move:
    def move(info: StreamInfo, at: Moment) -> None:
        value = ask(info, at)
        gauge = named.find(info, at) if value is not None else None
        if value is None or gauge is None:
            return
        state = info.filter_state.get(ADDED)
        if not isinstance(state, Added):
            state = Added(Amounts())
            info.set_filter_state(ADDED, state)
        if gauge not in state.amounts.by_gauge:
            state.amounts.by_gauge[gauge] = int(value)
            gauge.add(int(value))

    return move


def _subtracting(named: Named) -> Move:
    """Take back what the same connection has added to the same gauge."""

    def move(info: StreamInfo, at: Moment) -> None:
        state = info.filter_state.get(ADDED)
        gauge = named.find(info, at) if isinstance(state, Added) else None
        if isinstance(state, Added) and gauge is not None:
            gauge.add(-state.amounts.by_gauge.pop(gauge, 0))

    return move
