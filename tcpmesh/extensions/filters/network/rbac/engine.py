"""What rbac decides about a connection: by policies (`RBAC`), or by a matching tree (`Matcher`).

Policies are asked in the order of their names, and the first that holds counts.  Ten thousand of
them that are each for some addresses are not all asked: a table says which have the client's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from envoy.config.rbac.v3 import rbac_pb2

from tcpmesh.accesslog.cel.attributes import variables
from tcpmesh.config.fields.cel import Expression, NoValue
from tcpmesh.extensions.filters.network.rbac.rules import (
    ADDRESSES,
    AddressOf,
    Test,
    alternatives,
    any_of,
    find_hosts,
)
from tcpmesh.listener.matching.networks import Network, Networks, network_of
from tcpmesh.listener.matching.tree import MatchingTree
from tcpmesh.registry import Context
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

ALLOW, DENY, LOG = rbac_pb2.RBAC.ALLOW, rbac_pb2.RBAC.DENY, rbac_pb2.RBAC.LOG


REMEMBERED = 1024
"""Hosts of which it is remembered what was decided."""


class Decision(NamedTuple):
    """What comes of asking."""

    allowed: bool
    policy: str = ""
    """Which one decided; empty where none did."""

    log: bool | None = None
    """Whether access logs are asked to write it down, where the action is LOG."""


class Engine(Protocol):
    """What decides."""

    def decide(self, info: StreamInfo, now: Callable[[], Moment]) -> Decision:
        """About a connection as it is now."""


class _Policy(NamedTuple):
    decision: Decision
    tests: tuple[Test, ...]
    condition: _Condition | None
    is_for_all: bool
    """Whether it holds for everybody whom it is asked about."""

    def holds(self, info: StreamInfo, now: Callable[[], Moment]) -> bool:
        for test in self.tests:
            if not test(info):
                return False
        return self.condition is None or self.condition.holds(info, now())


class _Condition:
    """An expression that has to be true, beside permissions and principals."""

    def __init__(self, message: Any, converts: bool, node: Any) -> None:
        self._expression = Expression.of_message(message, converts)
        self._node = node

    def holds(self, info: StreamInfo, now: Moment) -> bool:
        """Whether it is; where it comes to nothing it is not."""
        expression = self._expression
        try:
            found = expression.value(variables(expression.names, self._node, info, now))
        except NoValue:
            return False
        return found.value() is True


def condition_of(policy: Any) -> Any:
    """The `Expr` that is the condition of a `Policy`, or `None`."""
    if policy.HasField("condition"):
        return policy.condition
    return policy.checked_condition.expr if policy.HasField("checked_condition") else None


_Table: TypeAlias = "tuple[AddressOf, Networks[list[int]]]"


class Policies:
    """What an `RBAC` message says."""

    def __init__(self, message: Any, context: Context) -> None:
        self._action: int = message.action
        self._policies: list[_Policy] = []
        self._ungated: list[int] = []
        """Those that have to be asked about everybody."""
        gates: dict[str, dict[Network, list[int]]] = {}
        for index, (name, policy) in enumerate(sorted(message.policies.items())):
            tests = _tests(policy.permissions, context)
            gate = _gate(policy.principals)
            if gate is None:
                self._ungated.append(index)
                tests += _tests(policy.principals, context)
            else:
                kind, networks = gate
                for network in networks:
                    gates.setdefault(kind, {}).setdefault(network, []).append(index)
            condition = _condition(policy, context)
            is_for_all = not tests and condition is None
            decision = self._decision(name, True)
            self._policies.append(_Policy(decision, tuple(tests), condition, is_for_all))
        self._none = self._decision("", False)
        self._tables: list[_Table] = [
            (ADDRESSES[kind], Networks(networks.items())) for kind, networks in gates.items()
        ]
        self._address_of: AddressOf | None = None
        """Whose address alone decides, where that is so: then what was decided about a host is
        remembered for a while.
        """
        if len(self._tables) == 1 and all(each.is_for_all for each in self._policies):
            self._address_of = self._tables[0][0]
        self._decided: dict[str, Decision] = {}

    def decide(self, info: StreamInfo, now: Callable[[], Moment]) -> Decision:
        """By the first policy that holds."""
        if self._address_of is None:
            return self._decide(info, now)
        host = self._address_of(info).host
        decision = self._decided.get(host)
        if decision is None:
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            decision = self._decided[host] = self._decide(info, now)
        return decision

    def _decide(self, info: StreamInfo, now: Callable[[], Moment]) -> Decision:
        for index in self._candidates(info):
            policy = self._policies[index]
            if policy.is_for_all or policy.holds(info, now):
                return policy.decision
        return self._none

    def _decision(self, name: str, matched: bool) -> Decision:
        if self._action == LOG:
            return Decision(True, name, matched)
        return Decision(matched is (self._action == ALLOW), name)

    def _candidates(self, info: StreamInfo) -> Sequence[int]:
        """Those that may hold, in their order."""
        lists = [self._ungated] if self._ungated else []
        for address_of, table in self._tables:
            lists += find_hosts(table, address_of(info))
        if len(lists) < 2:
            return lists[0] if lists else ()
        return sorted(set().union(*lists))


def _tests(messages: Any, context: Context) -> list[Test]:
    """What has to hold of these permissions or principals: nothing, where one is for everybody."""
    built = any_of(messages, context)
    return [] if any(kind == "any" for kind, _ in alternatives(messages)) else [built]


def _gate(principals: Any) -> tuple[str, set[Network]] | None:
    """The networks of which one is enough to be one of these principals, where they are nothing
    else, and all for the same address.
    """
    networks: set[Network] = set()
    kinds: set[str] = set()
    for kind, value in alternatives(principals):
        kinds.add(kind)
        if kind not in ADDRESSES or len(kinds) > 1:
            return None
        networks.add(network_of(value))
    return (kinds.pop(), networks) if kinds else None


def _condition(policy: Any, context: Context) -> _Condition | None:
    message = condition_of(policy)
    if message is None:
        return None
    return _Condition(message, policy.cel_config.enable_string_conversion, context.node)


class Tree:
    """What a matching tree says, whose actions are `rbac.v3.Action`."""

    def __init__(self, message: Any, context: Context) -> None:
        self._has_log = False
        self._choose = MatchingTree(context, self._action).choose(message)

    def _action(self, message: Any) -> tuple[str, int]:
        action = rbac_pb2.Action()
        message.typed_config.Unpack(action)
        self._has_log = self._has_log or action.action == LOG
        return action.name, action.action

    def decide(self, info: StreamInfo, now: Callable[[], Moment]) -> Decision:
        """By the action that is chosen; where none is, the client is denied."""
        chosen = self._choose(info)
        if chosen is None:
            return Decision(False)
        name, action = chosen
        return Decision(action != DENY, name, action == LOG if self._has_log else None)


def engine_of(rules: Any, matcher: Any, context: Context) -> Engine | None:
    """What decides by these messages, of which either may be `None`; a tree goes first."""
    if matcher is not None:
        return Tree(matcher, context)
    return Policies(rules, context) if rules is not None else None
