"""Extensions that there will never be: each is refused with the reason."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.absent import never
from tcpmesh.config.messages.types import find_type
from tcpmesh.config.support import EXTENSIONS
from tests.config.texts import changed, said

NETWORK = "envoy.extensions.filters.network."


class NeverTests(SynchronousTestCase):
    """What is said of them."""

    def said_of(self, kind: str, fields: str = "") -> str:
        """The problem that a network filter of this type is."""
        lines = f"\n      - {{name: n, typed_config: {{'@type': x/{NETWORK}{kind}{fields}}}}}"
        found = said(changed(("    - filters:", f"    - filters:{lines}")))
        return next(each for each in found if "@type" in each)

    def test_layer_7(self) -> None:
        """What answers clients is said to be of layer 7, with its protocol."""
        for kind, protocol in (
            ("http_connection_manager.v3.HttpConnectionManager", "HTTP"),
            ("redis_proxy.v3.RedisProxy", "Redis"),
            ("thrift_proxy.v3.ThriftProxy", "Thrift"),
            ("dubbo_proxy.v3.DubboProxy", "Dubbo"),
        ):
            text = self.said_of(kind)
            self.assertIn(f"{kind}: it answers clients in {protocol} and sends each", text)
            self.assertIn("(layer 7); tcpmesh passes bytes on", text)

    def test_by_name(self) -> None:
        """So is everything else that there will not be, with what to use instead."""
        for kind, reason in (
            ("wasm.v3.Wasm", "tcpmesh runs no WebAssembly; an extension of your own can be a"),
            ("dynamic_modules.v3.DynamicModuleNetworkFilter", "a library that was compiled for"),
            ("golang.v3alpha.Config", "it runs Go that was compiled for Envoy"),
            ("geoip.v3.Geoip", "it looks for the countries of clients"),
            ("ext_proc.v3.NetworkExternalProcessor", "it sends all bytes of a client to a service"),
            ("reverse_tunnel.v3.ReverseTunnel", "it takes connections of hosts that dial in"),
        ):
            self.assertIn(reason, self.said_of(kind))

    def test_every_filter(self) -> None:
        """All of these types are Envoy's, and none is supported."""
        for full_name in never._REASONS:
            self.assertEqual(full_name, find_type(full_name).full_name)
            self.assertNotIn(full_name, EXTENSIONS)
            self.assertTrue(never.why_never(full_name))
        self.assertEqual("", never.why_never(f"{NETWORK}tcp_proxy.v3.TcpProxy"))
