"""Twisted's own portforward on its own transports: what tcpmesh would cost without its own.

`python -m benchmarks.portforward PORT:BACKEND...` listens on each PORT of loopback and forwards to
BACKEND.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.protocols.portforward import ProxyFactory  # noqa: TID251 - it is what we compare with


def main(pairs: list[str]) -> None:
    """Forward until killed."""
    for pair in pairs:
        port, backend = pair.split(":")
        endpoint = TCP4ServerEndpoint(reactor, int(port), 4096, "127.0.0.1")
        endpoint.listen(ProxyFactory("127.0.0.1", int(backend)))
    IReactorCore(reactor).run()


if __name__ == "__main__":
    main(sys.argv[1:])
