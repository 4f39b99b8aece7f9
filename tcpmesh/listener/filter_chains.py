"""The filter chains of a listener: which there are, and which is for a client.

An update may bring other chains while those that stay as they are keep their clients.  It is all or
nothing: where a chain cannot be built, none is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from envoy.config.listener.v3.listener_components_pb2 import FilterChain as FilterChainMessage
from google.protobuf.wrappers_pb2 import StringValue

from tcpmesh.listener.filter_chain import ChainFilters, FilterChain, Serving
from tcpmesh.listener.matching.chain_match import ChainFinder
from tcpmesh.listener.matching.tree import Choose, MatchingTree
from tcpmesh.listener.updates import Difference, default_chain
from tcpmesh.net.cooperator import do_all
from tcpmesh.registry import UnknownExtension, WorkerContext
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.stream_info import ListenerInfo, StreamInfo
from tcpmesh.values.stream.wanted import Wanted

Find: TypeAlias = "Callable[[StreamInfo], FilterChain | None]"

Matching: TypeAlias = "tuple[Any, FilterChain]"
"""A chain, and its `FilterChainMatch` before it."""

OWN_FIELDS = ("name", "filter_chain_match", "metadata")
"""What two chains may differ in that are served by the same filters."""


class FilterChains:
    """The chains of one listener.

    :param message: the `listener.v3.Listener`; where it has none of its chains yet, an `update`
        brings them.
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
        self._listener: Serving | None = listener
        self._info = info
        self._chains: dict[bytes, FilterChain] = {}
        """By digests of their messages."""
        self._leaving: set[FilterChain] = set()
        """Those that have clients, though they are no more."""
        self._wanted: Counter[int] = Counter()
        """What the chains want, and how many want each: numbers, for a flag is slow to look up."""
        self._made: _Made | None = None
        self._ahead: _Building | None = None
        """Has chains that the next update wants."""
        self.update(message)

    def __iter__(self) -> Iterator[FilterChain]:
        """All that have clients, or may get some."""
        yield from self._leaving
        yield from self._chains.values()

    def update(self, message: Any, found: Difference | None = None) -> list[FilterChain]:
        """These are the chains now.

        :param found: in which of them the message differs from the one before.
        :return: those that are no more; the clients that they have may stay for the drain time.
        """
        building, self._ahead = self._ahead or _Building(self._build, self._context), None
        with all_or_nothing() as undo:
            undo.callback(building.give_back)
            made = building.made_of(message, self._chains, self._made, found)
            building.give_back(made.chains)
        left = [self._chains[key] for key in self._chains.keys() - made.chains.keys()]
        come = [made.chains[key] for key in made.chains.keys() - self._chains.keys()]
        self._wanted.update(chain.info.wanted.value for chain in come)
        self._wanted.subtract(Counter(chain.info.wanted.value for chain in left))
        wanted = self._info.wanted
        for each, count in self._wanted.items():
            if count:
                wanted |= Wanted(each)
        self._made, self._chains, self.find = made, made.chains, made.find
        self.keeps_remote = Wanted.REMOTE_ADDRESS in wanted
        self.keeps_local = Wanted.LOCAL_ADDRESS in wanted
        self._leaving.update(chain for chain in left if chain.connections)
        if left:
            do_all(self._context.network.cooperator, self._closing(left))
        return left

    def _closing(self, chains: Iterable[FilterChain]) -> Iterator[None]:
        """Close these, which no client finds any more, one in each step."""
        for chain in chains:
            chain.close()
            chain.filters.drain()
            if not chain.connections:
                self._leaving.discard(chain)
            yield

    def build_ahead(self, chains: Iterable[Any]) -> Iterator[None]:
        """Build these `listener.v3.FilterChain` for the next update, one in each step.  Of those
        that it does not want after all nothing is left.
        """
        self._forget_ahead(self._ahead)
        building = self._ahead = _Building(self._build, self._context)
        with all_or_nothing() as undo:
            undo.callback(self._forget_ahead, building)
            for each in chains:
                building.build(each, self._chains)
                yield
                if self._ahead is not building:
                    return

    def _forget_ahead(self, building: _Building | None) -> None:
        if building is not None and self._ahead is building:
            self._ahead = None
            building.give_back()

    def close(self) -> None:
        """No client comes any more."""
        self._forget_ahead(self._ahead)
        for chain in list(self):
            chain.close()

    def let_go(self) -> None:
        """The last client has left, and none comes any more."""
        self._listener = self._made = None
        self._chains = {}
        self._leaving = set()
        self.find = _nobody

    def forget(self, chain: FilterChain) -> None:
        """The last client of a chain has left, which may have been one that is no more."""
        self._leaving.discard(chain)

    def _build(self, message: Any, key: bytes, filters: ChainFilters | None) -> FilterChain:
        """One that is served by these filters, or by some of its own.

        :param key: its digest.
        """
        assert self._listener is not None
        filters = (
            ChainFilters(message, self._context, self._listener, f"chain.{key.hex()}")
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
                has_filters=bool(message.filters),
                wanted=wanted,
                wants_upstream=bool(wanted & (Wanted.UPSTREAM_ADDRESSES | Wanted.IDLE)),
            )
            return FilterChain(filters, info, self._listener)


class _Matched(NamedTuple):
    """What goes by a `filter_chain_matcher`."""

    choose: Choose[str]
    """The name of the chain for a client."""

    by_name: dict[str, FilterChain]


class _Made(NamedTuple):
    """What was made of a `listener.v3.Listener`."""

    message: Any
    chains: dict[bytes, FilterChain]
    """By digests of their messages."""

    finder: ChainFinder[FilterChain] | None
    """What goes by the matches of chains, where no `filter_chain_matcher` chooses."""

    matched: _Matched | None
    """What goes by that, where it does."""

    find: Find

    def can_be_changed(self, is_matched: bool) -> bool:
        """Whether the next one can be made of it: no two of its chains are equal, and both have a
        `filter_chain_matcher`, or neither has.
        """
        count = len(self.message.filter_chains) + len(default_chain(self.message))
        return len(self.chains) == count and is_matched is (self.matched is not None)


class _Building:
    """Makes the chains of a message: those that are equal are one, be it one there was before.

    :param build: a new one.
    """

    def __init__(
        self,
        build: Callable[[Any, bytes, ChainFilters | None], FilterChain],
        context: WorkerContext,
    ) -> None:
        self._context = context
        self._chains: dict[bytes, FilterChain] = {}
        self._build = build
        self._before: Mapping[bytes, FilterChain] = {}
        self._built: dict[bytes, FilterChain] = {}
        """Those that are new."""
        self._filters: dict[bytes, ChainFilters] = {}

    def build(self, message: Any, before: Mapping[bytes, FilterChain]) -> None:
        """Build this chain, which will be wanted soon, unless there is one like it."""
        key = digest(message)
        if key not in before and key not in self._built:
            self._new(message, key)

    def give_back(self, but: Container[bytes] = ()) -> None:
        """Nobody wants what is new, but for the chains of these digests."""
        for key, chain in self._built.items():
            if key not in but:
                chain.close()

    def made_of(
        self,
        message: Any,
        chains: Mapping[bytes, FilterChain],
        before: _Made | None,
        found: Difference | None,
    ) -> _Made:
        """The chains of this `listener.v3.Listener`, and what finds one of them for a client; with
        10,000 of which few have changed, little is made.

        :param chains: what there was, by the digests of messages.
        """
        self._before = chains
        is_matched = message.HasField("filter_chain_matcher")
        if before is not None and found is not None and before.can_be_changed(is_matched):
            gone, come = self._changes(message, before, found)
        else:
            before, gone, come = None, [], [*map(self._matching, message.filter_chains)]
        if is_matched:
            matched = self._matched(message, before, gone, come)
            default = self._default(message)
            return _Made(message, self._chains, None, matched, _chosen(matched, default))
        known = None if before is None else before.finder
        finder = ChainFinder(come) if known is None else known.changed(gone, come)
        default = self._default(message)
        find = finder.find if default is None else _or_default(finder.find, default)
        return _Made(message, self._chains, finder, None, find)

    def _changes(
        self, message: Any, before: _Made, found: Difference
    ) -> tuple[list[Matching], list[Matching]]:
        """The chains that go and those that come, each with its match; of those that there were,
        those that did not change are not touched.
        """
        self._chains = dict(before.chains)
        for each in default_chain(before.message):
            del self._chains[digest(each)]
        leaving = (before.message.filter_chains[place] for place in found.gone)
        gone = [(each.filter_chain_match, self._chains.pop(digest(each))) for each in leaving]
        return gone, [self._matching(message.filter_chains[place]) for place in found.come]

    def _matched(
        self, message: Any, before: _Made | None, gone: list[Matching], come: list[Matching]
    ) -> _Matched:
        matcher = message.filter_chain_matcher
        choose, by_name = None, dict[str, FilterChain]()
        if before is not None and before.matched is not None:
            by_name.update(before.matched.by_name)
            if before.message.filter_chain_matcher == matcher:
                choose = before.matched.choose
        for _, chain in gone:
            by_name.pop(chain.info.filter_chain_name, None)
        by_name.update((chain.info.filter_chain_name, chain) for _, chain in come)
        if choose is None:
            choose = MatchingTree(self._context, _named).choose(matcher)
        return _Matched(choose, by_name)

    def _matching(self, message: Any) -> Matching:
        return message.filter_chain_match, self._chain(message)

    def _default(self, message: Any) -> FilterChain | None:
        return next(map(self._chain, default_chain(message)), None)

    def _chain(self, message: Any) -> FilterChain:
        key = digest(message)
        chain = self._chains.get(key) or self._before.get(key) or self._built.get(key)
        self._chains[key] = chain = chain or self._new(message, key)
        return chain

    def _new(self, message: Any, key: bytes) -> FilterChain:
        served = FilterChainMessage()
        served.CopyFrom(message)
        for field in OWN_FIELDS:
            served.ClearField(field)
        same = digest(served)
        self._built[key] = chain = self._build(message, key, self._filters.get(same))
        if chain.filters.may_be_shared:
            self._filters[same] = chain.filters
        return chain


def _chosen(matched: _Matched, default: FilterChain | None) -> Find:
    choose, by_name = matched
    return lambda info: default if (name := choose(info)) is None else by_name.get(name)


def _nobody(info: StreamInfo) -> None:
    """There is no chain for anybody."""


def _or_default(find: Find, default: FilterChain) -> Find:
    return lambda info: find(info) or default


def _named(action: Any) -> str:
    """The chain that the action of a `filter_chain_matcher` names."""
    config = action.typed_config
    if config.TypeName() != StringValue.DESCRIPTOR.full_name:
        raise UnknownExtension(config.TypeName())
    return StringValue.FromString(config.value).value


def digest(message: Any) -> bytes:
    """What tells one chain from another: two of the same digest are one."""
    return blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()
