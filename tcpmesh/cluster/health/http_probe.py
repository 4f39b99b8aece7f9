"""The HTTP health check: a request to a path, and what is to be read from the answer."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

from tcpmesh.cluster.health.http_check import HttpCheck, judge
from tcpmesh.cluster.health.probe import (
    Connect,
    ExchangeProbe,
    Failed,
    HostConnect,
    IResults,
    MakeProbe,
    Terms,
)
from tcpmesh.interfaces import INetwork
from tcpmesh.stats.metrics import Counter
from tcpmesh.values.address import Address
from tcpmesh.wire.http1 import MalformedResponse, Response, ResponseParser


class HttpProbe(ExchangeProbe):
    """Asks one host."""

    __slots__ = ("_check", "_parser", "_request")

    def __init__(self, terms: Terms, address: Address, results: IResults, check: HttpCheck) -> None:
        super().__init__(terms, address, results)
        self._check = check
        self._request = check.request(results.spec, 0) if check.is_fixed else b""
        self._parser = ResponseParser(head=check.method == "HEAD", keep=check.keep)

    def ask(self, transport: Any) -> None:
        """Send the request."""
        self._parser.reset()
        transport.write(self._request or self._check.request(self._results.spec, time()))

    def received(self, data: bytes) -> None:
        """Read the answer; one that is none, or comes unasked, ends the connection."""
        if not self.asking:
            self.hang_up()
            return
        try:
            response = self._parser.feed(data)
        except MalformedResponse:
            self.hang_up()
            self.fail(Failed.NETWORK)
            return
        if response is not None:
            self._judge(response)

    def lost(self) -> None:
        """Between two checks this is of no importance; else the answer may end with the connection,
        or is missing.
        """
        self._line = None
        if not self.asking:
            return
        try:
            response = self._parser.end()
        except MalformedResponse:
            self.fail(Failed.NETWORK)
            return
        self._judge(response)

    def _judge(self, response: Response) -> None:
        if not self._terms.reuse or not response.keep_alive:
            self.hang_up()
        judge(self, self._check, response)


def http_probes(
    message: Any,
    connect: Connect,
    network: INetwork,
    cluster: str,
    verified: Counter,
    verifies: Callable[[], bool],
    host_connect: HostConnect | None = None,
) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with an `http_health_check`.

    :param host_connect: what connects in place of `connect`, where it matters which host it is.
    """
    check = HttpCheck(message.http_health_check, cluster, verified, verifies)
    terms = Terms.of(message, connect, network, host_connect)
    if not check.is_http2:
        return lambda address, spec, results: HttpProbe(
            terms.of_host(spec), address, results, check
        )
    # Here, as only these checks need h2.
    from tcpmesh.cluster.health.http2_probe import Http2CheckProbe

    return lambda address, spec, results: Http2CheckProbe(
        terms.of_host(spec), address, results, check
    )
