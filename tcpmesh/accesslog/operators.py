"""What each command operator yields for a connection.

An operator of a format becomes, when the format is built, a function of what is known about a
connection (`StreamInfo`) and of the moment at which it is asked: the modules of `fields` have them
by subject.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from tcpmesh.accesslog.cel.operators import cel_operators
from tcpmesh.accesslog.fields import (
    addresses,
    connection,
    http,
    process,
    state,
    times,
    tls,
    upstream,
)
from tcpmesh.accesslog.fields.coalesce import coalesce
from tcpmesh.accesslog.fields.value import Build, Yield, with_room
from tcpmesh.config.fields.operators import Operator, Part, parse
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING, Wanted

_SIMPLE: dict[str, Build] = {
    **addresses.OPERATORS,
    **connection.OPERATORS,
    **http.OPERATORS,
    **process.OPERATORS,
    **state.OPERATORS,
    **times.OPERATORS,
    **tls.OPERATORS,
    **upstream.OPERATORS,
}


_OF_OTHERS = ("CEL", "FILTER_STATE", "METADATA", "PEER_", "SERVER_NAME")
"""In the names of operators whose values clients and hosts choose, and may make long; those of HTTP
mind the room by themselves.
"""


class Operators:
    """The operators that formats may have.

    :param node: the `core.v3.Node` that this proxy is, or `None`: expressions may ask for it.
    :param more: names beyond those that all formats know.
    """

    __slots__ = ("_more", "table")

    def __init__(self, node: Any = None, more: Collection[str] = ()) -> None:
        self._more = more
        self.table: dict[str, Build | None] = {
            **_SIMPLE,
            **cel_operators(node),
            "COALESCE": None,
        }
        """By name; `None` for the one that is made of others."""

    def parse(self, text: str) -> tuple[Part, ...]:
        """Take a format apart.

        :raise FormatError: where Envoy refuses it.
        """
        return parse(text, self._more)

    def build(self, operator: Operator) -> Yield:
        """The function for an operator.

        :raise FormatError: where Envoy refuses its argument.
        """
        build = self.table[operator.name]
        ask = coalesce(operator, self.build) if build is None else build(operator)
        return with_room(ask) if any(each in operator.name for each in _OF_OTHERS) else ask


def wanted_by(operators: Iterable[Operator]) -> Wanted:
    """What operators may ask for once a connection is over."""
    wanted = NOTHING
    for operator in operators:
        wanted |= _wanted(operator.name)
    return wanted


def _wanted(name: str) -> Wanted:
    if name in ("CEL", "TYPED_CEL", "COALESCE"):
        return EVERYTHING
    if name == "TCPMESH":
        return Wanted.IDLE
    if "_ADDRESS" not in name and not name.endswith("_PORT"):
        return NOTHING
    if name.startswith("UPSTREAM_"):
        return Wanted.UPSTREAM_ADDRESSES
    return Wanted.LOCAL_ADDRESS if "_LOCAL_" in name else Wanted.REMOTE_ADDRESS


OPERATORS = Operators()
"""Those of all formats."""
