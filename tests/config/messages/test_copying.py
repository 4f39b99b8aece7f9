"""Copies of bootstraps."""

from __future__ import annotations

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.messages.copying import copy_into

TEXT = """
node: {id: x, metadata: {a: {b: 1}}}
use_tcp_for_dns_lookups: true
stats_config: {stats_tags: [{tag_name: t, fixed_value: v}]}
stats_flush_interval: 1s
layered_runtime: {layers: [{name: a, static_layer: {k: 1}}]}
static_resources:
  clusters: [{name: a, type: STATIC}, {name: b, type: STATIC}]
"""


class CopyTests(SynchronousTestCase):
    """Of all kinds of fields."""

    def test_whole(self) -> None:
        """It says the same, and is another."""
        for text in (TEXT, "{}", "static_resources: {}"):
            source, copy = load(config_yaml=text).bootstrap, Bootstrap()
            copy_into(copy, source)
            self.assertEqual(source, copy)
        copy.static_resources.clusters.add()
        self.assertEqual(0, len(source.static_resources.clusters))

    def test_rest(self) -> None:
        """Or all but the resources."""
        source, copy = load(config_yaml=TEXT).bootstrap, Bootstrap()
        copy_into(copy, source, with_resources=False)
        del source.static_resources.clusters[:]
        self.assertEqual(source, copy)
        self.assertTrue(copy.HasField("static_resources"))
