"""What an update of a listener changes: whether only its filter chains, and which of them go.

As in Envoy an update that changes nothing else is one in place: the listener keeps its sockets, and
the chains that stay as they are keep their clients.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

from tcpmesh.values.link import AddListener, BuildAhead, UpdateChains

MANY = 64
"""More new chains than these are built in small steps, beside the traffic."""

PART = 16
"""So many chains are tried in one step."""

AT_ONCE = 256
"""So many chains are compared in one step."""

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
    """What is other in one sequence of `listener.v3.FilterChain` than in another: the places of
    those that are not in both.
    """

    gone: tuple[int, ...]
    """In the sequence before."""

    come: tuple[int, ...]
    """In the one after."""


def difference(before: Sequence[Any], after: Sequence[Any]) -> Difference:
    """Which chains are not in both, neither of which has one twice."""
    steps = comparing(before, after)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Difference = end.value
            return found


def comparing(before: Sequence[Any], after: Sequence[Any]) -> Generator[None, None, Difference]:
    """The same in small steps, the last of which returns it.

    Where ten thousand are there, and few change, the others are compared with their likes and no
    more is done with them.
    """
    if len(before) == len(after):
        old = new = yield from _unequal(before, after, range(len(before)))
    else:
        least = min(len(before), len(after))
        head = yield from _equal(before, after, range(least))
        tail = yield from _equal(before, after, range(-1, head - least - 1, -1))
        old = list(range(head, len(before) - tail))
        new = list(range(head, len(after) - tail))
    gone = yield from _serialized(before, old)
    come = yield from _serialized(after, new)
    return Difference(
        tuple(place for key, place in gone.items() if key not in come),
        tuple(place for key, place in come.items() if key not in gone),
    )


def ahead_of(told: AddListener | UpdateChains) -> BuildAhead | None:
    """What is to be built in small steps before this is told; `None` where it is not much."""
    if isinstance(told, UpdateChains):
        come, count, name = told.come, len(told.come), ""
    else:
        come, count, name = None, len(told.message.filter_chains), told.name
    return BuildAhead(told.listener, name, told.message, come) if count > MANY else None


def in_parts(listener: Any, come: Sequence[int] | None = None) -> Iterator[Any]:
    """Listeners that have all chains of this one together, each a few; one whose matcher names
    chains as it is.

    :param come: the places of the chains that matter; `None` for all of them.
    """
    chains = listener.filter_chains
    wanted = range(len(chains)) if come is None else come
    if len(wanted) <= PART or listener.HasField("filter_chain_matcher"):
        yield listener
        return
    bare = type(listener)()
    bare.CopyFrom(listener)
    bare.ClearField("filter_chains")
    for start in range(0, len(wanted), PART):
        part = type(listener)()
        part.CopyFrom(bare)
        part.filter_chains.extend(chains[place] for place in wanted[start : start + PART])
        yield part
        bare.ClearField("default_filter_chain")


def left_out(before: Any, after: Any, found: Difference) -> int:
    """How many chains of one `listener.v3.Listener` the other one does not have.

    :param found: the difference of those that are no default chain.
    """
    default, default_before = default_chain(after), default_chain(before)
    gone_default = [] if default == default_before else default_before
    gone = [before.filter_chains[place] for place in found.gone]
    return sum(each not in default for each in gone) + sum(
        each not in after.filter_chains for each in gone_default
    )


def default_chain(message: Any) -> list[Any]:
    """The default chain of a `listener.v3.Listener`, if it has one."""
    return [message.default_filter_chain] if message.HasField("default_filter_chain") else []


def _unequal(
    one: Sequence[Any], other: Sequence[Any], places: range
) -> Generator[None, None, list[int]]:
    """At which of these places they differ."""
    found: list[int] = []
    for start in range(0, len(places), AT_ONCE):
        found += (i for i in places[start : start + AT_ONCE] if one[i] != other[i])
        yield
    return found


def _equal(one: Sequence[Any], other: Sequence[Any], places: range) -> Generator[None, None, int]:
    """At how many of these places they are equal before the first at which they are not."""
    for start in range(0, len(places), AT_ONCE):
        some = places[start : start + AT_ONCE]
        count = next((n for n, i in enumerate(some) if one[i] != other[i]), len(some))
        if count < len(some):
            return start + count
        yield
    return len(places)


def _serialized(
    chains: Sequence[Any], places: Sequence[int]
) -> Generator[None, None, dict[bytes, int]]:
    found: dict[bytes, int] = {}
    for number, place in enumerate(places, 1):
        found[chains[place].SerializeToString(deterministic=True)] = place
        if not number % AT_ONCE:
            yield
    return found


def _rest(message: Any) -> dict[str, Any]:
    fields = message.ListFields()
    return {field.name: value for field, value in fields if field.name not in CHAIN_FIELDS}
