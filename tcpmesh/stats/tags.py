"""Tags: the parts of a statistic's name that say whose it is, taken out so that Prometheus gets
them as labels.

`cluster.web.upstream_cx_total` is `cluster.upstream_cx_total` of the cluster `web`, which lets one
query sum over all clusters. A rule is an expression with two groups: the first is what is cut out
of the name, the second, within it, is the tag's value. Each rule looks at the whole name, and
several may find something, though only one for each tag.  Rules that begin with a word of the name
are asked after all others, as in Envoy.  The rules below are those of Envoy's defaults that concern
a TCP proxy, pinned by what the real one exposes; `tcpmesh.stats.settings` adds those of a
configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

_CACHE_LIMIT = 4096
"""Names that are remembered: to forget all of them takes a millisecond or two."""

MOST_GIVEN = 100_000
"""Statistics whose tags are not in their names, but were given."""


Tag: TypeAlias = tuple[str, str]
"""A tag as Envoy calls it, such as `envoy.cluster_name`, and its value."""

TaggedName: TypeAlias = tuple[str, tuple[Tag, ...]]
"""What is left of a name, and the tags found in it, in the order of the rules.

Plain tuples of texts, which the garbage collector need not walk: there may be tens of thousands.
"""


Cut: TypeAlias = "tuple[str, tuple[int, int]]"
"""The value of a tag, and which part of the name is cut out for it."""

NOTHING = (0, 0)


class Rule(Protocol):
    """Finds one tag in names.

    Where `first` is given, only names that begin with this word and a dot are looked at, and with
    `part` only those that contain it: both are cheaper to see than the expression.
    """

    tag: str
    first: str | None
    part: str

    def find(self, name: str) -> Cut | None:
        """The value and where the part to cut out is, or `None`.  The name has to contain
        `part`.
        """


class TagRule:
    """A rule with an expression of our own, which is compiled once a name is looked at.

    Without a second group it takes the value from the first, as Envoy has it
    (`metrics.v3.TagSpecifier.regex`).
    """

    __slots__ = ("_expression", "_mend", "_pattern", "first", "part", "tag")

    def __init__(
        self,
        tag: str,
        expression: str,
        first: str | None = None,
        part: str = "",
        mend: Callable[[str], str] = str,
    ) -> None:
        self._expression = expression
        self._pattern: re.Pattern[str] | None = None
        self.tag = tag
        self.first = first
        self.part = part
        self._mend = mend

    def find(self, name: str) -> Cut | None:
        """See `Rule`."""
        pattern = self._pattern
        if pattern is None:
            pattern = self._pattern = re.compile(self._expression)
        found = pattern.search(name)
        if found is None:
            return None
        return self._mend(found.group(min(pattern.groups, 2))), found.span(1)


ENDPOINT = "envoy.endpoint_address"
"""The tag of statistics of one host, which Envoy gives them without looking at names."""


class FixedTag:
    """A tag that every statistic has."""

    first: str | None = None
    part = ""

    def __init__(self, tag: str, value: str) -> None:
        self.tag = tag
        self._found = value.rstrip("."), NOTHING

    def find(self, name: str) -> Cut | None:
        """Its value; nothing is cut out."""
        return self._found


def _endpoint_address(value: str) -> str:
    """The address of an endpoint as it was before its colons were replaced."""
    return (
        value.replace("_", ":")
        if re.fullmatch(r"(?:[\d.]+|\[[\da-fA-F_.]+\])_\d+", value)
        else value
    )


_LISTENER = r"(?!admin\.)(?:(?:\d+\.){3}\d+_\d+|[^.]+)"


def _default_rules() -> Iterable[Rule]:
    yield TagRule("envoy.response_code", r"_rq(_(\d{3}))$", part="_rq_")
    yield TagRule("envoy.response_code_class", r"_rq_((\d))xx$", part="_rq_")
    for first in ("listener_manager", "server", "thread_local_cluster_manager"):
        yield TagRule("envoy.worker_id", rf"^{first}\.worker_((\d+)\.)", first)
    yield TagRule(
        "envoy.worker_id", rf"^listener\.{_LISTENER}\.worker_((\d+)\.)", "listener", part=".worker_"
    )
    for first in ("listener", "cluster"):
        for tag, part in _SSL.items():
            tag = "cipher_suite" if (tag, first) == ("envoy.ssl_cipher", "cluster") else tag
            yield TagRule(tag, rf"{re.escape(part)}(\.(.+))$", first, part)
        yield TagRule(
            "envoy.tls_certificate",
            r"\.ssl\.certificate(\.(.+))\.[^.]+$",
            first,
            ".ssl.certificate",
        )
    yield TagRule("envoy.http_conn_manager_prefix", r"^http\.(([^.]+)\.)", "http")
    yield TagRule("envoy.http_conn_manager_prefix", r"\.http\.(([^.]+)\.)", "listener", ".http.")
    yield TagRule("envoy.cluster_name", r"^cluster\.(([^.]+)\.)", "cluster")
    yield TagRule(
        ENDPOINT,
        r"^cluster\.[^.]+\.endpoint\.((.+)\.)[^.]+$",
        "cluster",
        ".endpoint.",
        _endpoint_address,
    )
    yield TagRule("envoy.listener_address", rf"^listener\.(({_LISTENER})\.)", "listener")
    for tag, first in _PREFIXED.items():
        yield TagRule(f"envoy.{tag}", rf"^{first}\.(([^.]+)\.)", first)
    yield TagRule("envoy.rbac_prefix", r"^(([^.]+)\.)rbac\.", part=".rbac.")
    yield TagRule(
        "envoy.proxy_protocol_prefix", r"^proxy_proto\.((?!versions\.)([^.]+)\.)", "proxy_proto"
    )
    yield TagRule(
        "envoy.proxy_protocol_version",
        r"^proxy_proto\.(?:[^.]+\.)?(versions\.v(\d)\.)\w+$",
        "proxy_proto",
    )


_SSL = {
    "envoy.ssl_cipher": ".ssl.ciphers",
    "envoy.ssl_curve": ".ssl.curves",
    "envoy.ssl_sigalg": ".ssl.sigalgs",
    "envoy.ssl_version": ".ssl.versions",
}

_PREFIXED = {
    "tcp_prefix": "tcp",
    "connection_limit_prefix": "connection_limit",
    "local_network_ratelimit_prefix": "local_rate_limit",
    "local_listener_ratelimit_prefix": "listener_local_ratelimit",
    "ratelimit_prefix": "ratelimit",
    "xds_resource_name": "sds",
}

DEFAULT_RULES = tuple(_default_rules())
"""Envoy's own rules (`metrics.v3.StatsConfig.use_all_default_tags`)."""


CLUSTER = "cluster."
ANY = "\0"
UNUSUAL = frozenset(("", "rbac", "ssl"))
"""Names of clusters that one of the rules takes for none, or for something else."""


class Tagger:
    """Applies rules to names, and remembers what came of it."""

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        self._rules = [rule for rule in rules if rule.first is None]
        self._rules += [rule for rule in rules if rule.first is not None]
        self._rules_by_first: dict[str, list[Rule]] = {}
        self._cache: dict[str, TaggedName] = {}
        self._given: dict[str, TaggedName] = {}
        self._untold: dict[str, TaggedName] = {}
        self._of_clusters: dict[str, TaggedName | None] = {}
        own = (rule for rule in rules if rule not in DEFAULT_RULES)
        self._is_usual = all(isinstance(rule, FixedTag) for rule in own)

    def give(self, name: str, tagged: TaggedName) -> None:
        """A statistic that was made with tags of its own: no rule looks for others.

        :param tagged: the name without the tags, and the tags.
        """
        if len(self._given) < MOST_GIVEN and name not in self._given:
            self._given[name] = self._cache[name] = self._untold[name] = tagged

    def forget(self, name: str) -> None:
        """There is no such statistic any more."""
        self._given.pop(name, None)
        self._untold.pop(name, None)
        self._cache.pop(name, None)

    def is_given(self, name: str) -> bool:
        """Whether a statistic has tags of its own."""
        return name in self._given

    def given(self, whole: bool) -> dict[str, TaggedName]:
        """The tags that statistics were given since this was last asked, or all of them."""
        untold, self._untold = self._untold, {}
        return dict(self._given) if whole else untold

    def tag(self, name: str) -> TaggedName:
        """The name without its tags, and the tags."""
        tagged = self._cache.get(name)
        if tagged is None:
            if len(self._cache) >= _CACHE_LIMIT + len(self._given):
                self._cache = dict(self._given)
            tagged = self._cache[name] = self._extract(name)
        return tagged

    def of_cluster(self, rest: str) -> TaggedName | None:
        """What comes of a cluster's statistic, by what follows the cluster's name in its own: the
        value of one tag is `ANY`, in place of that name.  There may be a million of them, and but
        for that value they are a hundred.

        :return: `None` where that cannot be told without the cluster's name, which must have no
            dot and be none of `UNUSUAL`.
        """
        if rest not in self._of_clusters:
            if len(self._of_clusters) >= _CACHE_LIMIT:
                self._of_clusters.clear()
            left, tags = self._extract(CLUSTER + ANY + rest)
            values = [value for _, value in tags if ANY in value]
            is_told = self._is_usual and ANY not in left and values == [ANY]
            self._of_clusters[rest] = (left, tags) if is_told else None
        return self._of_clusters[rest]

    def _extract(self, name: str) -> TaggedName:
        tags: dict[str, str] = {}
        cuts = []
        for rule in self._rules_for(name.partition(".")[0]):
            if rule.part in name and rule.tag not in tags:
                found = rule.find(name)
                if found is not None:
                    tags[rule.tag] = found[0]
                    cuts.append(found[1])
        return _without(name, cuts).rstrip("."), tuple(tags.items())

    def _rules_for(self, first: str) -> Sequence[Rule]:
        """The rules for names that begin with this word; such words are few unless they are rbac
        prefixes.
        """
        rules = self._rules_by_first.get(first)
        if rules is None:
            rules = [rule for rule in self._rules if rule.first in (None, first)]
            if len(self._rules_by_first) < _CACHE_LIMIT:
                self._rules_by_first[first] = rules
        return rules


def _without(name: str, cuts: Iterable[tuple[int, int]]) -> str:
    """The name without these parts, which may overlap."""
    left, at = [], 0
    for start, end in sorted(cuts):
        left.append(name[at : max(start, at)])
        at = max(end, at)
    return "".join((*left, name[at:]))
