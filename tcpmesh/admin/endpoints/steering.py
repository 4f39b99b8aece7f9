"""What an operator does with clusters and hosts while traffic flows: Envoy has no such pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.values.statuses import NotPossible, NotThere

LONGEST_PAUSE = 3600.0
"""Seconds."""

PERCENT = 10

_TIME = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _wanted(call: Call, name: str, usage: str) -> str:
    value = call.parameters.get(name)
    if not value:
        raise Refusal(f"usage: {usage}\n")
    return value


def _drain(drained: bool, usage: str, call: Call) -> Answer:
    cluster, address = _wanted(call, "cluster", usage), _wanted(call, "address", usage)
    try:
        count = call.server.drain_host(cluster, address, drained)
    except NotThere as e:
        raise Refusal(f"{e}\n", 404) from None
    except NotPossible as e:
        raise Refusal(f"{e}\n") from None
    what = "gets no new connections" if drained else "gets connections again"
    more = f" ({count} hosts have this address)" if count > 1 else ""
    return Answer(f"{address} of {cluster} {what}{more}\n")


def _drain_host(call: Call) -> Answer:
    return _drain(True, "/hosts/drain?cluster=<name>&address=<address of a host>", call)


def _enable_host(call: Call) -> Answer:
    return _drain(False, "/hosts/enable?cluster=<name>&address=<address of a host>", call)


def _rebalance(call: Call) -> Answer:
    usage = "/clusters/rebalance?cluster=<name>&percent=<1 to 100>"
    cluster = _wanted(call, "cluster", usage)
    text = call.parameters.get("percent") or str(PERCENT)
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 0 < int(text) <= 100):
        raise Refusal(f"usage: {usage}\n")
    try:
        closing = call.server.rebalance(cluster, int(text))
    except NotThere as e:
        raise Refusal(f"{e}\n", 404) from None

    def pieces() -> Iterator[str | Deferred[Any]]:
        found: list[int] = []
        yield closing.addCallback(found.append)
        for count in found:
            yield f"closing {count} connection{'' if count == 1 else 's'} of {cluster}\n"

    return Answer(pieces())


def _pause(call: Call) -> Answer:
    usage = "/clusters/pause?cluster=<name>&for=<time such as 30s, up to 1h; 0s to go on>"
    cluster, text = _wanted(call, "cluster", usage), _wanted(call, "for", usage)
    time = _TIME.fullmatch(text)
    seconds = float(time[1]) * _UNITS[time[2] or "s"] if time is not None else -1
    if not 0 <= seconds <= LONGEST_PAUSE:
        raise Refusal(f"usage: {usage}\n")
    try:
        call.server.pause_cluster(cluster, seconds)
    except NotThere as e:
        raise Refusal(f"{e}\n", 404) from None
    if seconds:
        return Answer(f"new connections to {cluster} wait for {seconds:g} s\n")
    return Answer(f"new connections to {cluster} are made\n")


_CLUSTER = Parameter("cluster", "The name of the cluster")
_ADDRESS = Parameter("address", "The address of the host, as /clusters shows it")

ENDPOINTS = (
    Endpoint(
        "/hosts/drain",
        "give a host no new connections",
        _drain_host,
        (_CLUSTER, _ADDRESS),
        changes=True,
        is_own=True,
    ),
    Endpoint(
        "/hosts/enable",
        "give a host connections again",
        _enable_host,
        (_CLUSTER, _ADDRESS),
        changes=True,
        is_own=True,
    ),
    Endpoint(
        "/clusters/rebalance",
        "close the oldest connections of a cluster gently, a few in each second",
        _rebalance,
        (_CLUSTER, Parameter("percent", f"How many of 100; {PERCENT} by default")),
        changes=True,
        is_own=True,
    ),
    Endpoint(
        "/clusters/pause",
        "hold new connections to a cluster for a while; 0s to go on",
        _pause,
        (_CLUSTER, Parameter("for", "How long, as 30s")),
        changes=True,
        is_own=True,
    ),
)
