"""The filter chains of a listener: which there are, and which is for a client.

An update may bring other chains while those that stay as they are keep their clients.  It is all or
nothing: where a chain cannot be built, none is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeAlias

from envoy.config.listener.v3.listener_components_pb2 import FilterChain as FilterChainMessage
from google.protobuf.wrappers_pb2 import StringValue

from tcpmesh.listener.filter_chain import ChainFilters, FilterChain, Serving
from tcpmesh.listener.matching.chain_match import chain_finder
from tcpmesh.listener.matching.tree import MatchingTree
from tcpmesh.registry import UnknownExtension, WorkerContext
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.stream_info import ListenerInfo, StreamInfo
from tcpmesh.values.stream.wanted import Wanted

Find: TypeAlias = "Callable[[StreamInfo], FilterChain | None]"

OWN_FIELDS = ("name", "filter_chain_match", "metadata")
"""What two chains may differ in that are served by the same filters."""


class FilterChains:
    """The chains of one listener.

    :param message: the `listener.v3.Listener`.
    :param info: what is known of clients of this listener before a chain has them.
    :raise tcpmesh.registry.BrokenExtension: where a filter cannot be built.
    """

    find: Find
    """The chain for a client, or `None`."""

    keeps_remote: bool
    """Whether any access log may ask for the address of a client once it is gone."""

    keeps_local: bool
    """... or for the one that it came in by."""

    def __init__(
        self,
        message: Any,
        context: WorkerContext,
        listener: Serving,
        info: ListenerInfo,
    ) -> None:
        self._context = context
        self._listener = listener
        self._info = info
        self._chains: dict[bytes, FilterChain] = {}
        """By digests of their messages."""
        self._leaving: set[FilterChain] = set()
        """Those that have clients, though they are no more."""
        self.update(message)

    def __iter__(self) -> Iterator[FilterChain]:
        """All that have clients, or may get some."""
        yield from self._leaving
        yield from self._chains.values()

    def update(self, message: Any) -> list[FilterChain]:
        """These are the chains now.

        :return: those that are no more; the clients that they have stay.
        """
        made = _Chains(self._build, self._chains, self._context)
        with all_or_nothing() as undo:
            made.undo = undo.callback
            find = made.finder(message)
            wanted = self._info.wanted
            for chain in made.chains.values():
                wanted |= chain.info.wanted
            keeps_remote = Wanted.REMOTE_ADDRESS in wanted
            keeps_local = Wanted.LOCAL_ADDRESS in wanted
        left = [chain for key, chain in self._chains.items() if key not in made.chains]
        self._chains, self.find = made.chains, find
        self.keeps_remote, self.keeps_local = keeps_remote, keeps_local
        for chain in left:
            chain.close()
        self._leaving.update(chain for chain in left if chain.connections)
        return left

    def close(self) -> None:
        """No client comes any more."""
        for chain in list(self):
            chain.close()

    def forget(self, chain: FilterChain) -> None:
        """The last client of a chain has left, which may have been one that is no more."""
        self._leaving.discard(chain)

    def _build(self, message: Any, filters: ChainFilters | None) -> FilterChain:
        """One that is served by these filters, or by some of its own."""
        filters = (
            ChainFilters(message, self._context, self._listener)
            if filters is None
            else filters.hold()
        )
        with all_or_nothing() as undo:
            undo.callback(filters.release)
            undo.callback(filters.close)
            wanted = self._info.wanted
            if filters.access_logs is not None:
                wanted |= filters.access_logs.wants
            info = replace(
                self._info,
                filter_chain_name=message.name,
                filter_chain_metadata=message.metadata if message.HasField("metadata") else None,
                wanted=wanted,
                wants_upstream=bool(wanted & (Wanted.UPSTREAM_ADDRESSES | Wanted.IDLE)),
            )
            return FilterChain(filters, info, self._listener)


class _Chains:
    """The chains of one message: those that are equal are one, be it one there was before.

    :param build: a new one.
    :param before: what there was, by the digests of messages.
    """

    undo: Callable[..., object]
    """Is told how to give back what is built."""

    def __init__(
        self,
        build: Callable[[Any, ChainFilters | None], FilterChain],
        before: Mapping[bytes, FilterChain],
        context: WorkerContext,
    ) -> None:
        self._context = context
        self.chains: dict[bytes, FilterChain] = {}
        self._build = build
        self._before = before
        self._filters: dict[bytes, ChainFilters] = {}

    def finder(self, message: Any) -> Find:
        """What finds the chain for a client, among those of this `listener.v3.Listener`."""
        chains = [(each, self._chain(each)) for each in message.filter_chains]
        default = None
        if message.HasField("default_filter_chain"):
            default = self._chain(message.default_filter_chain)
        if message.HasField("filter_chain_matcher"):
            choose = MatchingTree(self._context, _named).choose(message.filter_chain_matcher)
            by_name = {each.name: chain for each, chain in chains}
            return lambda info: default if (name := choose(info)) is None else by_name.get(name)
        found = chain_finder((each.filter_chain_match, chain) for each, chain in chains)
        return found if default is None else lambda info: found(info) or default

    def _chain(self, message: Any) -> FilterChain:
        key = _digest(message)
        chain = self.chains.get(key) or self._before.get(key)
        if chain is None:
            served = FilterChainMessage()
            served.CopyFrom(message)
            for field in OWN_FIELDS:
                served.ClearField(field)
            same = _digest(served)
            chain = self._build(message, self._filters.get(same))
            self.undo(chain.close)
            if chain.filters.may_be_shared:
                self._filters[same] = chain.filters
        self.chains[key] = chain
        return chain


def _named(action: Any) -> str:
    """The chain that the action of a `filter_chain_matcher` names."""
    name = StringValue()
    if not action.typed_config.Unpack(name):
        raise UnknownExtension(action.typed_config.TypeName())
    return name.value


def _digest(message: Any) -> bytes:
    return blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()
