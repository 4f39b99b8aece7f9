"""What a configuration says of statistics as a whole (`metrics.v3.StatsConfig`): which there are,
which tags are found in their names, and the buckets of histograms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.stats.store import Accepts, Store
from tcpmesh.stats.tags import DEFAULT_RULES, ENDPOINT, NOTHING, Cut, FixedTag, Rule, Tagger
from tcpmesh.wire.ecmascript import EcmaRegex

_FIRST = re.compile(r"\^(\w+)(?:\\\.|\(\?=\\\.)", re.ASCII)
"""How an expression begins that wants names to begin with a word."""


class CustomTag:
    """A tag that an expression of the configuration finds.

    :raise tcpmesh.wire.regex.BadRegex: for an expression that is none, which the checks of a
        configuration do not let pass.
    """

    part = ""

    def __init__(self, tag: str, expression: str) -> None:
        self.tag = tag
        found = _FIRST.match(expression)
        self.first = found[1] if found is not None else None
        self._regex = EcmaRegex(expression)

    def find(self, name: str) -> Cut | None:
        """The second group's text, or the first one's where there is no second; without any group
        there is no tag.
        """
        if not self._regex.groups:
            return None
        found = self._regex.search(name)
        if found is None:
            return None
        cut, (start, end) = found
        value = name[start:end].rstrip(".") if start >= 0 else ""
        return value, cut if cut[0] >= 0 else NOTHING


def stats_store(config: Any, arguments: Mapping[str, str] | None = None) -> Store:
    """A store as a `metrics.v3.StatsConfig` says.

    :param arguments: the tags that the command line gives to every statistic.
    """
    return Store(
        Tagger(tuple(_rules(config, arguments or {}))),
        accepts(config.stats_matcher),
        _bounds(config.histogram_bucket_settings),
    )


def accepts(matcher: Any) -> Accepts | None:
    """Which names a `metrics.v3.StatsMatcher` lets pass; `None` where all."""
    kind = matcher.WhichOneof("stats_matcher")
    if kind == "reject_all":
        return _nothing if matcher.reject_all else None
    if kind is None:
        return None
    is_wanted = kind == "inclusion_list"
    patterns = matcher.inclusion_list.patterns if is_wanted else matcher.exclusion_list.patterns
    tests = [string_matcher(each) for each in patterns]
    return lambda name: any(test(name) for test in tests) is is_wanted


def _nothing(name: str) -> bool:
    return False


def _rules(config: Any, arguments: Mapping[str, str]) -> Iterator[Rule]:
    named = {each.tag_name for each in config.stats_tags}
    are_default = not config.HasField("use_all_default_tags") or config.use_all_default_tags.value
    is_overridden = named if config.allow_default_tag_overrides.value else set()
    yield from (
        rule
        for rule in DEFAULT_RULES
        if rule.tag == ENDPOINT or (are_default and rule.tag not in is_overridden)
    )
    for tag, value in arguments.items():
        yield FixedTag(tag, value)
    for each in config.stats_tags:
        if each.WhichOneof("tag_value") == "fixed_value":
            yield FixedTag(each.tag_name, each.fixed_value)
        elif each.regex:
            yield CustomTag(each.tag_name, each.regex)
        else:
            yield from (rule for rule in DEFAULT_RULES if rule.tag == each.tag_name)


def _bounds(settings: Iterable[Any]) -> Callable[[str], tuple[float, ...] | None] | None:
    """Finds the buckets of a histogram by its name: those of the first settings that match."""
    rows = [(string_matcher(each.match), tuple(sorted(each.buckets))) for each in settings]
    if not rows:
        return None
    return lambda name: next((bounds or None for test, bounds in rows if test(name)), None)
