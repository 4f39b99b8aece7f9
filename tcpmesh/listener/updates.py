"""What an update of a listener changes: whether only its filter chains, and which of them go.

As in Envoy an update that changes nothing else is one in place: the listener keeps its sockets, and
the chains that stay as they are keep their clients.
"""

from __future__ import annotations

from typing import Any

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


def left_out(before: Any, after: Any) -> int:
    """How many chains of one `listener.v3.Listener` the other one does not have."""
    return len(_chains(before) - _chains(after))


def _rest(message: Any) -> dict[str, Any]:
    fields = message.ListFields()
    return {field.name: value for field, value in fields if field.name not in CHAIN_FIELDS}


def _chains(message: Any) -> set[bytes]:
    chains = {each.SerializeToString(deterministic=True) for each in message.filter_chains}
    if message.HasField("default_filter_chain"):
        chains.add(message.default_filter_chain.SerializeToString(deterministic=True))
    return chains
