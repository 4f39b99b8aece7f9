"""A bootstrap as bytes."""

from __future__ import annotations

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.server.reload.packing import pack, unpack

DEEP = "a: " + "{a: " * 60 + "1" + "}" * 60
TEXT = f"""
node: {{id: x, cluster: mine}}
stats_flush_interval: 3s
stats_flush_on_admin: null
layered_runtime: {{layers: [{{name: s, static_layer: {{k: 1}}}}]}}
static_resources:
  clusters:
  - name: a
    type: STATIC
    metadata: {{filter_metadata: {{f: {{{DEEP}}}}}}}
  - {{name: b, type: STATIC}}
"""


class PackingTests(SynchronousTestCase):
    """Of any."""

    def test_back(self) -> None:
        """It is the same again, however deep something is nested in it."""
        for text in (TEXT, "{}", "static_resources: {}", "stats_flush_on_admin: true"):
            bootstrap = load(config_yaml=text, allow_unsupported=True).bootstrap
            if text is TEXT:
                bootstrap.static_resources.secrets.add(name="s").tls_certificate.SetInParent()
            again = unpack(pack(bootstrap))
            self.assertEqual(bootstrap, again)
            self.assertEqual(pack(bootstrap), pack(again))

    def test_version(self) -> None:
        """Another one has another version."""
        one, other = Bootstrap(), Bootstrap()
        other.node.id = "x"
        self.assertNotEqual(pack(one).version, pack(other).version)
        self.assertEqual(16, len(pack(one).version))
