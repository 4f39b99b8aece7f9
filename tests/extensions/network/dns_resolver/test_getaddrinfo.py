"""The resolver of the C library."""

from __future__ import annotations

import socket
from typing import Any

from envoy.extensions.network.dns_resolver.getaddrinfo.v3.getaddrinfo_dns_resolver_pb2 import (
    GetAddrInfoDnsResolverConfig,
)
from zope.interface.verify import verifyObject

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from tcpmesh.extensions.network.dns_resolver.getaddrinfo import TTL, GetAddrInfoResolver
from tcpmesh.interfaces import IDnsResolver
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import Store
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found
from tests.mesh import parse


class GetAddrInfoTests(TestCase):
    """Lookups in threads."""

    timeout = 20

    def resolve(self, name: str, family: Family, text: str = "{}") -> Deferred[Any]:
        """Look a name up."""
        context = MainContext(StockNetwork(reactor), Store())
        resolver = GetAddrInfoResolver(parse(GetAddrInfoDnsResolverConfig, text), context)
        verifyObject(IDnsResolver, resolver)
        return resolver.resolve(name, family)

    def failing(self, *errors: Exception | None) -> None:
        """Let the library fail so, one call after the other; `None` for an address."""
        left = list(errors)

        def getaddrinfo(*arguments: Any) -> Any:
            error = left.pop(0)
            if error is not None:
                raise error
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0))]

        self.patch(socket, "getaddrinfo", getaddrinfo)
        self.addCleanup(lambda: self.assertEqual([], left))

    @inlineCallbacks
    def test_address(self) -> Any:
        """What the library finds is good for a minute."""
        self.assertEqual(
            (Found("127.0.0.1", TTL),), (yield self.resolve("localhost", Family.V4_ONLY))
        )

    @inlineCallbacks
    def test_none(self) -> Any:
        """A name that does not exist has no address."""
        self.failing(socket.gaierror(socket.EAI_NONAME, "no"))
        self.assertEqual((), (yield self.resolve("a.test", Family.V4_ONLY)))

    @inlineCallbacks
    def test_failure(self) -> Any:
        """Other errors are failures, with their reason, and are not tried again; nor is what cannot
        be a name.
        """
        self.failing(socket.gaierror(socket.EAI_FAIL, "broken"))
        failure = yield self.assertFailure(
            self.resolve("a.test", Family.V4_ONLY, "num_retries: 5"), ResolutionFailed
        )
        self.assertIn("broken", str(failure))
        self.failing(UnicodeError("label too long"))
        yield self.assertFailure(
            self.resolve("a.test", Family.V4_ONLY, "num_retries: 5"), ResolutionFailed
        )

    @inlineCallbacks
    def test_again(self) -> Any:
        """What may succeed later is tried `num_retries` times more."""
        again = socket.gaierror(socket.EAI_AGAIN, "later")
        self.failing(again, again, None)
        found = yield self.resolve("a.test", Family.V4_ONLY, "num_retries: 2")
        self.assertEqual((Found("127.0.0.2", TTL),), found)
        self.failing(again)
        yield self.assertFailure(self.resolve("a.test", Family.V4_ONLY), ResolutionFailed)
