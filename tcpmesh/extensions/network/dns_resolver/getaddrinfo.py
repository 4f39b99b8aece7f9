"""The resolver of the C library: all that nsswitch.conf may name (mDNS, LDAP, ...), in the
reactor's pool of threads.

The library tells no time to live; as in Envoy each answer is good for a minute.  A lookup that may
succeed later (EAI_AGAIN) is tried `num_retries` times more.  Envoy without a number tries for ever,
at once; ours then fails, and the cluster asks again after its refresh rate.  `num_resolver_threads`
is not acted on: the reactor's pool has its own size.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

from envoy.extensions.network.dns_resolver.getaddrinfo.v3.getaddrinfo_dns_resolver_pb2 import (
    GetAddrInfoDnsResolverConfig,
)
from zope.interface import implementer

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThreadPool

from tcpmesh.interfaces import IDnsResolver
from tcpmesh.net.dns.resolve import ResolutionFailed, find
from tcpmesh.registry import MainContext, extension
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found

TTL = 60

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
_NO_ADDRESS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@extension(GetAddrInfoDnsResolverConfig)
@implementer(IDnsResolver)
class GetAddrInfoResolver:
    """Built from a `GetAddrInfoDnsResolverConfig`."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self._tries: int = 1 + message.num_retries.value
        self._reactor: Any = context.network.clock

    def resolve(self, name: str, family: Family) -> Deferred[tuple[Found, ...]]:
        """The addresses of a name."""
        return find(name, family, self._addresses)

    @inlineCallbacks
    def _addresses(self, name: str, kind: str) -> Generator[Deferred[Any], Any, tuple[Found, ...]]:
        reactor, pool = self._reactor, self._reactor.getThreadPool()
        failure: Exception | None = None
        for _ in range(self._tries):
            try:
                found = yield deferToThreadPool(
                    reactor,
                    pool,
                    socket.getaddrinfo,
                    name,
                    None,
                    _FAMILIES[kind],
                    socket.SOCK_STREAM,
                )
                return tuple(Found(address[4][0], TTL) for address in found)
            except (socket.gaierror, UnicodeError) as e:
                failure = e
            code = failure.errno if isinstance(failure, socket.gaierror) else None
            if code in _NO_ADDRESS:
                return ()
            if code != socket.EAI_AGAIN:
                break
        raise ResolutionFailed(f"{name}: {failure}")
