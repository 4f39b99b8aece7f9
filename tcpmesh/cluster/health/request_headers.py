"""Header fields that a health check adds to its requests, with the command operators in their
values.

A check has no client: what an operator says of one is what Envoy says here, the loopback address, 0
or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any, NamedTuple

from tcpmesh.accesslog.fields.state import metadata_at
from tcpmesh.accesslog.fields.upstream import host_name, host_name_without_port
from tcpmesh.accesslog.fields.value import Value, cut_to, shown
from tcpmesh.accesslog.operators import OPERATORS
from tcpmesh.config.fields.headers import with_headers
from tcpmesh.config.fields.operators import Operator, parse
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import NOWHERE, StreamInfo

Headers = tuple[tuple[str, str], ...]


class ProbeInfo(NamedTuple):
    """What operators speak of: one host at one moment."""

    spec: HostSpec
    info: StreamInfo
    at: Moment


Yield = Callable[[ProbeInfo], Value]


def probe_info(spec: HostSpec, now: float) -> ProbeInfo:
    """A host that is asked now, in seconds since 1970."""
    return ProbeInfo(spec, StreamInfo(started=now), Moment(now, now))


NOTHING = probe_info(HostSpec(NOWHERE), 0.0)
"""For fields without operators."""


class RequestHeaders:
    """What `HeaderValueOption` messages add to the fields of requests.

    :param protocol: what `%PROTOCOL%` is.
    :param remove: names, in lower case, of fields that are not sent though they are not added here.
    """

    def __init__(
        self, options: Iterable[Any], protocol: str, remove: Set[str] = frozenset()
    ) -> None:
        self._remove = remove
        self._options = [(option, _parts(option.header.value, protocol)) for option in options]
        self.is_fixed = all(isinstance(part, str) for _, parts in self._options for part in parts)
        """Whether there is no operator in any of them."""

    def added_to(self, fields: Headers, spec: HostSpec, now: float) -> Headers:
        """The fields of a request to a host, at a time in seconds since 1970."""
        found = [each for each in fields if each[0] not in self._remove]
        asked = NOTHING if self.is_fixed else probe_info(spec, now)
        added = (
            (option, "".join(part if isinstance(part, str) else part(asked) for part in parts))
            for option, parts in self._options
        )
        return tuple(with_headers(found, added))


def _parts(text: str, protocol: str) -> tuple[str | Callable[[ProbeInfo], str], ...]:
    return tuple(
        part if isinstance(part, str) else _text_of(part, protocol) for part in parse(text)
    )


def _text_of(operator: Operator, protocol: str) -> Callable[[ProbeInfo], str]:
    ask, length = _yield_of(operator, protocol), operator.length
    return lambda asked: cut_to(shown(ask(asked)) or "", length)


def _yield_of(operator: Operator, protocol: str) -> Yield:
    """The function for an operator; `tcpmesh.config.fields.operators.IN_CHECKS` has their names."""
    argument = operator.argument or ""
    if operator.name == "PROTOCOL":
        return lambda asked: protocol
    if operator.name in _OF_HOST:
        find = _OF_HOST[operator.name]
        return lambda asked: find(asked.spec)
    if operator.name == "UPSTREAM_METADATA":
        steps = argument.split(":")
        return lambda asked: metadata_at(asked.spec.metadata, steps)
    if operator.name == "METADATA":
        steps = argument.split(":")[1:]
        return lambda asked: metadata_at(asked.spec.metadata, steps)
    ask = OPERATORS.build(operator)
    return lambda asked: ask(asked.info, asked.at)


_OF_HOST: dict[str, Callable[[HostSpec], str]] = {
    "UPSTREAM_HOST": lambda spec: str(spec.address),
    "UPSTREAM_HOST_NAME": host_name,
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": host_name_without_port,
}
