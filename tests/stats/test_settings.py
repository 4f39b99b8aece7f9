"""What `stats_config` makes of a store, as the real Envoy does it."""

from __future__ import annotations

from envoy.config.metrics.v3.stats_pb2 import StatsConfig, StatsMatcher

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.distribution import DEFAULT_BOUNDS
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.settings import accepts, stats_store
from tcpmesh.stats.store import Declaration, Store
from tests.mesh import parse

NAME = "cluster.c.upstream_cx_total"
HOST_NAME = "cluster.c.endpoint.127.0.0.1_80.cx_total"


def store_of(text: str, **arguments: str) -> Store:
    """A store as this StatsConfig says."""
    return stats_store(parse(StatsConfig, text), arguments)


def names_of(store: Store) -> set[str]:
    """All names that it shows."""
    kinds = (store.counters(), store.gauges(), store.histograms(), store.text_readouts())
    return {stat.name for stats in kinds for stat in stats}


class TagTests(SynchronousTestCase):
    """`stats_tags` and what they do to the default ones."""

    def tagged(self, text: str, name: str = NAME, **arguments: str) -> tuple[str, dict[str, str]]:
        """A name without its tags, and these, in order."""
        left, tags = store_of(text, **arguments).tagger.tag(name)
        self.assertEqual(len(tags), len(dict(tags)))
        return left, dict(tags)

    def assert_tags(self, text: str, left: str, **tags: str) -> None:
        """These are found, in this order, with `_` for the dot of Envoy's own."""
        found = self.tagged(text)
        self.assertEqual(left, found[0])
        self.assertEqual(
            list(tags.items()), [(k.replace("envoy.", "envoy_"), v) for k, v in found[1].items()]
        )

    def test_none(self) -> None:
        """Without settings there are the default ones."""
        self.assert_tags("{}", "cluster.upstream_cx_total", envoy_cluster_name="c")

    def test_regex(self) -> None:
        """An expression cuts out its first group, and its second is the value."""
        self.assert_tags(
            r"stats_tags: [{tag_name: z, regex: '_(c(x)_)'}]",
            "cluster.upstream_total",
            z="x",
            envoy_cluster_name="c",
        )
        self.assert_tags(
            r"stats_tags: [{tag_name: z, regex: '(cluster\.c\.)'}]",
            "upstream_cx_total",
            z="cluster.c",
            envoy_cluster_name="c",
        )

    def test_no_group(self) -> None:
        """An expression without a group finds nothing, and a group that took no part is empty."""
        self.assert_tags(
            "stats_tags: [{tag_name: y, regex: upst}]",
            "cluster.upstream_cx_total",
            envoy_cluster_name="c",
        )
        self.assert_tags(
            "stats_tags: [{tag_name: y, regex: '(z)?upst'}]",
            "cluster.upstream_cx_total",
            y="",
            envoy_cluster_name="c",
        )

    def test_fixed(self) -> None:
        """Every name has a fixed tag; of one tag the first counts that is found."""
        tags = "stats_tags: [{tag_name: z, regex: '(up)'}, {tag_name: z, fixed_value: q}]"
        self.assertEqual({"z": "up", "envoy.cluster_name": "c"}, self.tagged(tags)[1])
        self.assertEqual(("server.live", {"z": "q"}), self.tagged(tags, "server.live"))

    def test_order(self) -> None:
        """Those of the command line come first, then those for all names in their order, then those
        for names that begin with a word.
        """
        found = self.tagged(
            r"""
            stats_tags:
            - {tag_name: z, regex: (up)stream}
            - {tag_name: q, fixed_value: "1"}
            - {tag_name: y, regex: '^cluster\.(c)'}
            - {tag_name: w, regex: (total)}
            - {tag_name: cli, fixed_value: other}
            """,
            cli="v",
        )
        self.assertEqual("cluster.stream_cx_", found[0])
        self.assertEqual(
            [("cli", "v"), ("z", "up"), ("q", "1"), ("w", "total")], list(found[1].items())[:4]
        )
        self.assertEqual([("envoy.cluster_name", "c"), ("y", "c")], list(found[1].items())[4:])

    def test_override(self) -> None:
        """A default tag stays as it is unless the configuration may change it; a fixed one comes
        before it.
        """
        own = r"stats_tags: [{tag_name: envoy.cluster_name, regex: '^cluster\.((.*)\.)up'}]"
        may = "{allow_default_tag_overrides: true, " + own + "}"
        name = "cluster.a.b.upstream_cx_total"
        self.assertEqual(
            ("cluster.b.upstream_cx_total", {"envoy.cluster_name": "a"}), self.tagged(own, name)
        )
        self.assertEqual(
            ("cluster.upstream_cx_total", {"envoy.cluster_name": "a.b"}), self.tagged(may, name)
        )
        other = "cluster.c.membership_total"
        self.assertEqual((other, {}), self.tagged(may, other))
        fixed = "stats_tags: [{tag_name: envoy.cluster_name, fixed_value: f}]"
        self.assertEqual((NAME, {"envoy.cluster_name": "f"}), self.tagged(fixed))

    def test_default_off(self) -> None:
        """Without the default ones there are those that are listed, for which a name will do; that
        of a host is part of no name.
        """
        self.assertEqual((NAME, {}), self.tagged("use_all_default_tags: false"))
        listed = "use_all_default_tags: false\nstats_tags: [{tag_name: envoy.cluster_name}]"
        self.assertEqual({"envoy.cluster_name": "c"}, self.tagged(listed)[1])
        self.assertEqual(("tcp.t.x", {}), self.tagged(listed, "tcp.t.x"))
        host = self.tagged(
            "use_all_default_tags: false", "cluster.c.endpoint.127.0.0.1_80.cx_total"
        )
        self.assertEqual({"envoy.endpoint_address": "127.0.0.1:80"}, host[1])


class MatcherTests(SynchronousTestCase):
    """`stats_matcher`."""

    def test_kinds(self) -> None:
        """What matches is there or is not there, or nothing is."""
        for text, wanted in {
            "reject_all: true": [],
            "reject_all: false": ["abc", "abd", "x"],
            "inclusion_list: {patterns: [{prefix: ab}, {exact: x}]}": ["abc", "abd", "x"],
            "inclusion_list: {patterns: [{suffix: d}]}": ["abd"],
            "inclusion_list: {patterns: [{exact: ABC, ignore_case: true}]}": ["abc"],
            "exclusion_list: {patterns: [{contains: b}]}": ["x"],
            "exclusion_list: {patterns: [{safe_regex: {regex: 'a.*'}}]}": ["x"],
        }.items():
            accept = accepts(parse(StatsMatcher, text))
            found = [name for name in ("abc", "abd", "x") if accept is None or accept(name)]
            self.assertEqual(wanted, found, text)

    def test_unseen(self) -> None:
        """What is not wanted can be counted, set and recorded, and nobody sees it: neither in the
        list, nor as a sink, nor in main.
        """
        store = store_of("stats_matcher: {inclusion_list: {patterns: [{suffix: total}]}}")
        scope = store.scope("cluster.c")
        scope.counter("total").tally += 2
        scope.counter("other").tally += 1
        scope.gauge("active", Merge.SUM).add(1)
        scope.gauge("size", Merge.MAX).set(1)
        for _ in range(3000):
            scope.histogram("ms").record(1)
        scope.text_readout("version").set("x")
        scope.declare(Declaration(("rq_total", "rq_other"), ("g",), ("h",), ("t",)))
        self.assertEqual({"cluster.c.total", "cluster.c.rq_total"}, names_of(store))
        deltas = store.deltas()
        self.assertEqual({"cluster.c.total": 2}, deltas.counters)
        self.assertEqual((("total", "rq_total"), (), (), ()), deltas.shown["cluster.c."])
        scope.close()
        self.assertEqual(set(), names_of(store))

    def test_restricted(self) -> None:
        """One who has a matcher of his own has the names that it lets pass, whatever all others
        have, until he closes it.
        """
        store = store_of("stats_matcher: {exclusion_list: {patterns: [{prefix: listener}]}}")
        own = store.restricted(
            accepts(parse(StatsMatcher, "inclusion_list: {patterns: [{suffix: total}]}"))
        )
        for each in (store, own):
            scope = each.scope("listener.l")
            scope.counter("total").tally += 1
            scope.counter("other")
        own.counter("top_total")
        self.assertEqual({"listener.l.total", "top_total"}, names_of(store))
        main = store_of("stats_matcher: {exclusion_list: {patterns: [{prefix: listener}]}}")
        main.merge(store.deltas(), "worker_0")
        self.assertIn("listener.l.total", names_of(main))
        own.close()
        self.assertEqual(set(), names_of(store))


class BucketTests(SynchronousTestCase):
    """`histogram_bucket_settings`."""

    def test_buckets(self) -> None:
        """The first settings that match a histogram have its buckets, in order; settings without
        any leave the default ones.
        """
        store = store_of(
            """
            histogram_bucket_settings:
            - {match: {suffix: bytes}, bins: 10}
            - {match: {prefix: cluster}, buckets: [5, 1, 2.5]}
            - {match: {contains: c.}, buckets: [7]}
            """
        )
        for name, bounds in (
            ("cluster.c.ms", (1, 2.5, 5)),
            ("cluster.c.bytes", DEFAULT_BOUNDS),
            ("tcp.c.ms", (7,)),
            ("tcp.ms", DEFAULT_BOUNDS),
        ):
            self.assertEqual(bounds, store.histogram(name).bounds, name)
        store.scope("cluster.d").declare(Declaration(histograms=("ms",)))
        declared = {each.name: each.bounds for each in store.histograms()}
        self.assertEqual((1, 2.5, 5), declared["cluster.d.ms"])
