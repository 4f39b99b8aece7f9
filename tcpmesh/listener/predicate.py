"""Which clients a listener filter is not for: the predicates of `filter_disabled`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.values.stream.stream_info import StreamInfo

Predicate = Callable[[StreamInfo], bool]


def predicate(message: Any) -> Predicate:
    """What a `listener.v3.ListenerFilterChainMatchPredicate` says of a client as it is when it is
    asked.
    """
    rule = message.WhichOneof("rule")
    if rule == "any_match":
        return lambda info: True
    if rule == "destination_port_range":
        return _port_range(message.destination_port_range)
    if rule == "not_match":
        inner = predicate(message.not_match)
        return lambda info: not inner(info)
    rules = tuple(predicate(each) for each in getattr(message, rule).rules)
    combine = {"or_match": any, "and_match": all}[rule]
    return lambda info: combine(each(info) for each in rules)


def _port_range(message: Any) -> Predicate:
    """The end does not belong to the range.  Addresses without a port are in none."""
    start, end = message.start, message.end

    def is_inside(info: StreamInfo) -> bool:
        address = info.local_address
        return bool(address.is_ip and start <= address.port < end)

    return is_inside
