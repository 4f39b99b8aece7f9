"""What an update of a listener changes: whether only its filter chains, and which of them go.

As in Envoy an update that changes nothing else is one in place: the listener keeps its sockets, and
the chains that stay as they are keep their clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

CHAIN_FIELDS = frozenset(("filter_chains", "default_filter_chain", "filter_chain_matcher"))


def changes_only_chains(before: Any, after: Any) -> bool:
    """Whether two `listener.v3.Listener` differ in their filter chains alone.

    As in Envoy not where one of them has no chain but the default one, nor where the first chain
    makes a difference to how clients are looked at (`use_proxy_proto`).
    """
    if not before.filter_chains or not after.filter_chains:
        return False
    old, new = before.filter_chains[0], after.filter_chains[0]
    return old.use_proxy_proto.value == new.use_proxy_proto.value and _rest(before) == _rest(after)


class Difference(NamedTuple):
    """What is other in one sequence of `listener.v3.FilterChain` than in another, in no order."""

    gone: list[Any]
    come: list[Any]


def difference(before: Sequence[Any], after: Sequence[Any]) -> Difference:
    """Which chains are not in both, neither of which has one twice.

    Where ten thousand are there, and few change, the others are compared with their likes and no
    more is done with them.
    """
    if len(before) == len(after):
        pairs = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        old_bytes = _serialized(old for old, _ in pairs)
        new_bytes = _serialized(new for _, new in pairs)
    else:
        head = _equal(before, after)
        rest = slice(head, None)
        tail = _equal(before[rest][::-1], after[rest][::-1])
        old_bytes = _serialized(before[head : len(before) - tail])
        new_bytes = _serialized(after[head : len(after) - tail])
    return Difference(
        [chain for key, chain in old_bytes.items() if key not in new_bytes],
        [chain for key, chain in new_bytes.items() if key not in old_bytes],
    )


def left_out(before: Any, after: Any) -> int:
    """How many chains of one `listener.v3.Listener` the other one does not have."""
    default = default_chain(after)
    gone = difference(before.filter_chains, after.filter_chains).gone
    gone_default = difference(default_chain(before), default).gone
    return sum(each not in default for each in gone) + sum(
        each not in after.filter_chains for each in gone_default
    )


def default_chain(message: Any) -> list[Any]:
    """The default chain of a `listener.v3.Listener`, if it has one."""
    return [message.default_filter_chain] if message.HasField("default_filter_chain") else []


def _equal(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many are equal at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(one), len(other)))


def _serialized(chains: Iterable[Any]) -> dict[bytes, Any]:
    return {each.SerializeToString(deterministic=True): each for each in chains}


def _rest(message: Any) -> dict[str, Any]:
    fields = message.ListFields()
    return {field.name: value for field, value in fields if field.name not in CHAIN_FIELDS}
