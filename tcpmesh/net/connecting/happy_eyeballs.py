"""Connecting to a host of several addresses: Happy Eyeballs (RFC 8305), as Envoy does it.

The addresses are tried in turn.  The next attempt begins when one fails, or when none has succeeded
for a while; those under way go on.  The first to succeed wins, and the others are given up.  To the
factory the whole race is one attempt, with one time limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.error import UserError
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions

STAGGER = 0.3
"""Seconds after which the next address is tried beside those that have not answered (RFC 8305
advises 0.25).
"""

Candidate = tuple[Address, "ConnectOptions | None"]


def in_turn(addresses: Sequence[Address], first: int, count: int = 1) -> list[Address]:
    """The order of a race: `count` addresses of the family `first`, one of the others, and so
    on.
    """
    preferred = [address for address in addresses if address.family == first]
    others = [address for address in addresses if address.family != first]
    ordered: list[Address] = []
    while preferred or others:
        ordered += preferred[:count] + others[:1]
        preferred, others = preferred[count:], others[1:]
    return ordered


class _Attempt(OneShotFactory):
    """One attempt of a race: the client factory of its connector."""

    def __init__(self, race: HappyEyeballs) -> None:
        self._race: HappyEyeballs | None = race
        self.connector: Any = None

    def leave(self) -> None:
        """The race needs this attempt no more: cut the cycle with its connector, which knows it as
        its factory.
        """
        self._race = self.connector = None

    def buildProtocol(self, addr: Any) -> Any:
        """Connected: the protocol of the race's factory, if this is the first."""
        return self._race.won(self, addr) if self._race is not None else None

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """This address is of no use."""
        if self._race is not None:
            self._race.lost(self, reason)


@implementer(IConnector)
class HappyEyeballs:
    """One attempt to connect to a host.

    :param candidates: addresses with their options, in the order in which they are to be tried.
    :param another: called for each attempt after the first.
    :param for_client: as for `INetwork.connect`.
    """

    def __init__(
        self,
        network: INetwork,
        candidates: Sequence[Candidate],
        factory: Any,
        timeout: float,
        another: Callable[[], object],
        for_client: bool = False,
    ) -> None:
        self._network = network
        self._candidates = list(candidates)
        self._destination = candidates[0][0]
        self._factory = factory
        self._timeout = timeout
        self._another = another
        self._for_client = for_client
        self._attempts: list[_Attempt] = []
        self._stagger: IDelayedCall | None = None
        self._over = False
        self._winner: Any = None

    def connect(self) -> None:
        """Begin; the factory hears of the outcome later, never from within this call."""
        self._network.timers.queue(self._timeout, HappyEyeballs._timed_out).add(self)
        self._next()

    def stopConnecting(self) -> None:
        """Give up; the factory hears a `UserError`."""
        if not self._over:
            self._finish()
            self._network.clock.callLater(0, self._tell, Failure(UserError()))

    def disconnect(self) -> None:
        """Give up, or close the connection that was made."""
        if self._winner is not None:
            self._winner.disconnect()
        else:
            self.stopConnecting()

    def getDestination(self) -> Address:
        """Where this connects to: the first of the addresses."""
        return self._destination

    def won(self, attempt: _Attempt, addr: Any) -> Any:
        """An attempt has succeeded."""
        self._attempts.remove(attempt)
        self._winner = attempt.connector
        attempt.leave()
        self._finish()
        return self._factory.buildProtocol(addr)

    def lost(self, attempt: _Attempt, reason: Failure) -> None:
        """An attempt has failed."""
        self._attempts.remove(attempt)
        attempt.leave()
        if reason.check(ConnectTimeout):
            self._timed_out()  # its limit is the same, and it began no earlier
        elif self._candidates:
            self._next_now()
        elif not self._attempts:
            self._finish()
            self._tell(reason)

    def _next(self) -> None:
        """Try one more address, and the one after it unless there is an answer by then."""
        address, options = self._candidates.pop(0)
        attempt = _Attempt(self)
        self._attempts.append(attempt)
        attempt.connector = self._network.connect(
            address, attempt, self._timeout, options, self._for_client
        )
        if self._candidates:
            self._stagger = self._network.clock.callLater(STAGGER, self._late)

    def _late(self) -> None:
        self._stagger = None
        self._another()
        self._next()

    def _next_now(self) -> None:
        self._stop_stagger()
        self._another()
        self._next()

    def _timed_out(self) -> None:
        self._finish()
        self._tell(Failure(ConnectTimeout()))

    def _finish(self) -> None:
        """The race is over: give up all that is under way."""
        self._over = True
        self._stop_stagger()
        self._network.timers.queue(self._timeout, HappyEyeballs._timed_out).discard(self)
        attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            connector = attempt.connector
            attempt.leave()
            connector.stopConnecting()

    def _stop_stagger(self) -> None:
        if self._stagger is not None:
            self._stagger.cancel()
            self._stagger = None

    def _tell(self, reason: Failure) -> None:
        self._factory.clientConnectionFailed(self, reason)
