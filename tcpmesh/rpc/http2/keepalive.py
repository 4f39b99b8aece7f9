"""Whether a silent host is still there: pings, as `connection_keepalive` asks for them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.rpc.http2.options import Keepalive


def _nothing() -> None:
    """The connection is gone."""


class Pings:
    """Those of one connection.

    :param send: sends a ping.
    :param failed: called when one is not answered in time.
    """

    __slots__ = ("_call", "_clock", "_failed", "_heard", "_random", "_send", "_settings", "awaits")

    def __init__(
        self,
        settings: Keepalive,
        clock: IReactorTime,
        random: Random | None,
        send: Callable[[], object],
        failed: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._send = send
        self._failed = failed
        self._call: IDelayedCall | None = None
        self._heard = clock.seconds()
        self.awaits = False
        """Whether a ping is to be answered."""

    def start(self) -> None:
        """The connection is there."""
        if self._settings.interval:
            spread = self._random.random() if self._random is not None else 0.0
            jitter = self._settings.jitter / 100 * spread
            self._later(self._settings.interval * (1 + jitter), self._ping)

    def stop(self) -> None:
        """The connection is gone."""
        self._forget()
        self._send = self._failed = _nothing

    def heard(self) -> None:
        """The host has sent a frame."""
        self._heard = self._clock.seconds()

    def stream_begins(self) -> None:
        """A stream begins: after a silence a ping goes along."""
        idle = self._settings.idle
        if idle and not self.awaits and self._clock.seconds() - self._heard >= idle:
            self._forget()
            self._ping()

    def answered(self) -> None:
        """The host has answered a ping."""
        if self.awaits:
            self.awaits = False
            self._forget()
            self.start()

    def _ping(self) -> None:
        self.awaits = True
        self._later(self._settings.timeout, self._timed_out)
        self._send()

    def _timed_out(self) -> None:
        self._call = None
        self._failed()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._call = self._clock.callLater(seconds, call)

    def _forget(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
