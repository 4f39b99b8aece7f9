"""Matching trees: `xds.type.matcher.v3.Matcher`.

A tree is built once, of functions that call each other.  Each is asked for a client and answers
with what its action has been built to (for filter chains, a name), or with `None` where it has
nothing for that client; then whoever has asked goes on.
Tables are looked up at a cost that does not depend on their size; a list is asked from its
beginning, for that is what a list means.

Different from Envoy 1.40: that ends with a segmentation fault where a filter chain has been chosen
by what says `keep_matching`.  Here the next match is looked for, as is written about the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

from xds.type.matcher.v3.domain_pb2 import ServerNameMatcher
from xds.type.matcher.v3.ip_pb2 import IPMatcher

from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.interfaces import IInputMatcher, IMatchInput
from tcpmesh.listener.matching.networks import Network, Networks, network_of
from tcpmesh.registry import Context, UnknownExtension, build_checked, check_provides
from tcpmesh.values.stream.stream_info import StreamInfo

Chosen = TypeVar("Chosen")
"""What a tree chooses: never `None`."""

Choose: TypeAlias = "Callable[[StreamInfo], Chosen | None]"
Test: TypeAlias = "Callable[[StreamInfo], bool]"
Input: TypeAlias = "Callable[[StreamInfo], str | None]"

Candidates: TypeAlias = "Callable[[str], Iterable[Choose[Chosen]]]"
"""What may be chosen for an input, the best first."""


def _nothing(info: StreamInfo) -> None:
    return None


class MatchingTree(Generic[Chosen]):
    """What builds trees.

    :param action: what a `core.v3.TypedExtensionConfig` of an action chooses.
    """

    def __init__(self, context: Context, action: Callable[[Any], Chosen]) -> None:
        self._context = context
        self._action = action

    def choose(self, message: Any) -> Choose[Chosen]:
        """What a `Matcher` chooses.

        :raise tcpmesh.registry.UnknownExtension: where nothing understands a type in it.
        :raise ValueError: where a network has no IP address.
        """
        otherwise = self._on_match(message.on_no_match)
        if message.HasField("matcher_list"):
            return self._list(message.matcher_list, otherwise)
        if message.HasField("matcher_tree"):
            return self._tree(message.matcher_tree, otherwise)
        return otherwise

    def _on_match(self, message: Any) -> Choose[Chosen]:
        """What an `OnMatch` chooses; nothing where it is not given, or is to be gone on after."""
        if message.keep_matching:
            return _nothing
        if message.HasField("matcher"):
            return self.choose(message.matcher)
        if message.HasField("action"):
            chosen = self._action(message.action)
            return lambda info: chosen
        return _nothing

    def _list(self, message: Any, otherwise: Choose[Chosen]) -> Choose[Chosen]:
        entries = tuple(
            (self._predicate(each.predicate), self._on_match(each.on_match))
            for each in message.matchers
        )

        def choose(info: StreamInfo) -> Chosen | None:
            for test, on_match in entries:
                if test(info):
                    chosen = on_match(info)
                    if chosen is not None:
                        return chosen
            return otherwise(info)

        return choose

    def _tree(self, message: Any, otherwise: Choose[Chosen]) -> Choose[Chosen]:
        get = self._input(message.input)
        candidates = self._candidates(message)

        def choose(info: StreamInfo) -> Chosen | None:
            text = get(info)
            if text is not None:
                for each in candidates(text):
                    chosen = each(info)
                    if chosen is not None:
                        return chosen
            return otherwise(info)

        return choose

    # Tables

    def _candidates(self, message: Any) -> Candidates[Chosen]:
        if message.HasField("custom_match"):
            return self._custom_tree(message.custom_match.typed_config)
        if message.HasField("prefix_match_map"):
            return _by_prefix(self._table(message.prefix_match_map))
        return _exact(self._table(message.exact_match_map))

    def _table(self, message: Any) -> dict[str, Choose[Chosen]]:
        return {key: self._on_match(each) for key, each in message.map.items()}

    def _custom_tree(self, config: Any) -> Candidates[Chosen]:
        for kind, build in ((IPMatcher, self._by_network), (ServerNameMatcher, self._by_domain)):
            if config.Is(kind.DESCRIPTOR):
                message = kind()
                config.Unpack(message)
                return build(message)
        raise UnknownExtension(config.TypeName())

    def _by_network(self, message: Any) -> Candidates[Chosen]:
        """By the smallest network first, and those of one network in the order they are written."""
        by_network: dict[Network, list[tuple[bool, Choose[Chosen]]]] = {}
        for each in message.range_matchers:
            entry = each.exclusive, self._on_match(each.on_match)
            for network in map(network_of, each.ranges):
                by_network.setdefault(network, []).append(entry)
        networks = Networks(by_network.items())

        def candidates(text: str) -> Iterable[Choose[Chosen]]:
            try:
                found = networks.find_all(text)
            except ValueError:
                return
            is_first = True
            for entries in found:
                for is_exclusive, choose in entries:
                    if is_first or not is_exclusive:
                        is_first = False
                        yield choose

        return candidates

    def _by_domain(self, message: Any) -> Candidates[Chosen]:
        """By the name itself, then by wildcards, the longest first, then by that for all."""
        table: dict[str, Choose[Chosen]] = {}
        for each in message.domain_matchers:
            on_match = self._on_match(each.on_match)
            for domain in each.domains:
                table.setdefault(domain, on_match)

        def candidates(text: str) -> Iterable[Choose[Chosen]]:
            if not text:
                return
            names = [text]
            dot = text.find(".")
            while dot >= 0:
                names.append("*" + text[dot:])
                dot = text.find(".", dot + 1)
            for name in (*names, "*"):
                found = table.get(name)
                if found is not None:
                    yield found

        return candidates

    # Predicates

    def _predicate(self, message: Any) -> Test:
        kind = message.WhichOneof("match_type")
        if kind == "single_predicate":
            return self._single(message.single_predicate)
        if kind == "not_matcher":
            inner = self._predicate(message.not_matcher)
            return lambda info: not inner(info)
        tests = tuple(self._predicate(each) for each in getattr(message, kind).predicate)
        combine = {"or_matcher": any, "and_matcher": all}[kind]
        return lambda info: combine(test(info) for test in tests)

    def _single(self, message: Any) -> Test:
        get = self._input(message.input)
        if message.HasField("custom_match"):
            config = message.custom_match.typed_config
            matcher = build_checked(
                config, self._context, lambda made: check_provides(made, IInputMatcher, config)
            )
            return lambda info: bool(matcher.matches(get(info)))
        test = string_matcher(message.value_match)

        def matches(info: StreamInfo) -> bool:
            text = get(info)
            return text is not None and test(text)

        return matches

    def _input(self, message: Any) -> Input:
        config = message.typed_config
        made = build_checked(
            config, self._context, lambda each: check_provides(each, IMatchInput, config)
        )
        get: Input = made.get
        return get


def _exact(table: dict[str, Choose[Chosen]]) -> Candidates[Chosen]:
    def candidates(text: str) -> Iterable[Choose[Chosen]]:
        found = table.get(text)
        return () if found is None else (found,)

    return candidates


def _by_prefix(table: dict[str, Choose[Chosen]]) -> Candidates[Chosen]:
    """The longest prefix first."""
    lengths = sorted({len(prefix) for prefix in table}, reverse=True)

    def candidates(text: str) -> Iterable[Choose[Chosen]]:
        for length in lengths:
            found = table.get(text[:length]) if length <= len(text) else None
            if found is not None:
                yield found

    return candidates
