"""Clients without end, and who of them may have been cut off.

A client may be cut off for two reasons: its worker was killed, or the listener that it came by is
no more, or the process, and its drain time is over.  What clients say is compared afterwards with
what was done, for a client may hear of the end of its worker before the killer comes to tell.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.soak.configuration import Place
from tests.soak.sessions import HEADER, PATIENCE, Side, session

REMEMBERED = 10_000
"""Sessions: a backend may notice long after its client that something was wrong."""

LATE = 2.0
"""Seconds that a session may notice later, or has to begin earlier, than what cuts it off."""


@dataclass
class Played:
    """One session."""

    number: int
    place: Place
    began: float
    ends: set[Any] = field(default_factory=set)
    """The addresses of its client, and of the proxy as its backend sees it."""

    ended: float = 0.0
    flaws: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cut:
    """Clients that may be cut off from some moment on."""

    at: float
    why: str
    clients: frozenset[tuple[str, int]] = frozenset()
    """Who, by an address of either connection; besides those of unix sockets, which have none."""

    places: frozenset[str] | None = None
    """Or all who came in before the drain by listeners of these names; `None` is by any."""

    drain: float = 0.0
    """Seconds before `at` when the drain began: 0 where it is no drain."""

    def covers(self, played: Played, now: float) -> bool:
        """Whether it may have cut off this one."""
        ended = played.ended or now
        if ended + LATE < self.at or played.began > self.at + LATE - self.drain:
            return False
        if self.drain:
            return self.places is None or played.place.name in self.places
        return played.place.uses_paths or not self.clients.isdisjoint(played.ends)


class Clients:
    """Those of one proxy.

    :param places: where they may get in.
    """

    def __init__(self, places: Iterable[Place], at_once: int, first: int) -> None:
        self._places = list(places)
        self._numbers = itertools.count(first)
        self._at_once = at_once
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._pauses = True
        self._closed: set[str] = set()
        self._sessions: dict[int, Played] = {}
        """Those of late."""
        self._flawed: dict[int, Played] = {}
        self._cuts: list[Cut] = []
        self.played = 0
        self.slow_connects: list[float] = []
        """The longest times to connect and to have the first bytes taken, in seconds."""

    # What they are told

    def go(self) -> None:
        """Play from now on."""
        self._pauses = False
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(self._at_once)
        ]
        for each in self._threads:
            each.start()

    def pause(self) -> None:
        """Begin no more sessions, and wait until those there are have ended."""
        self._pauses = True
        for each in self._threads:
            each.join(3 * PATIENCE)

    def avoid(self, names: Iterable[str]) -> None:
        """No session begins at these listeners: they are going, or gone."""
        with self._lock:
            self._closed = set(names)

    def cut(self, cut: Cut) -> None:
        """Some may be cut off."""
        with self._lock:
            self._cuts.append(cut)

    def flawed(self, number: int, who: str, what: str, peer: Any = None) -> None:
        """Something is wrong with a session."""
        with self._lock:
            played = self._sessions[number]
            played.flaws.append(f"{who}: {what}")
            if isinstance(peer, tuple):
                played.ends.add(peer[:2])
            self._flawed[number] = played

    # What they found

    def verdict(self) -> tuple[list[str], dict[str, int]]:
        """What nobody has to suffer, and how many were cut off why."""
        now = time.monotonic()
        wrong: list[str] = []
        cut: dict[str, int] = {}
        with self._lock:
            flawed, cuts = list(self._flawed.values()), tuple(self._cuts)
        for played in flawed:
            reason = next((each.why for each in cuts if each.covers(played, now)), None)
            is_broken = any("other bytes" in flaw or "more than" in flaw for flaw in played.flaws)
            if reason is not None and not is_broken:
                cut[reason] = cut.get(reason, 0) + 1
            elif played.ended and now - played.ended > LATE:
                wrong.append(self._text(played))
        return wrong, cut

    def _text(self, played: Played) -> str:
        plan = session(played.number)
        return (
            f"session {played.number} at {played.place.name} by {played.ends}, from "
            f"{played.began:.2f} to {played.ended:.2f}: {'; '.join(played.flaws)}; {plan}"
        )

    # What they do

    def _work(self) -> None:
        while not self._pauses:
            with self._lock:
                number = next(self._numbers)
                places = [each for each in self._places if each.name not in self._closed]
                place = places[number % len(places)]
                played = self._sessions[number] = Played(number, place, time.monotonic())
                self._sessions.pop(number - REMEMBERED, None)
            try:
                self._play(played)
            finally:
                played.ended = time.monotonic()
                with self._lock:
                    self.played += 1

    def _play(self, played: Played) -> None:
        plan = session(played.number)
        try:
            sock = connect(played.place)
            if played.place.port:
                played.ends.add(sock.getsockname()[:2])
            sock.sendall(played.number.to_bytes(HEADER, "big"))
        except OSError as e:
            self.flawed(played.number, "client", f"cannot connect: {e}")
            return
        self._note_connect(time.monotonic() - played.began)
        flaw = Side(sock, plan.client, plan.backend, plan.orderly).play()
        if flaw:
            self.flawed(played.number, "client", flaw)

    def _note_connect(self, seconds: float) -> None:
        with self._lock:
            self.slow_connects = sorted((*self.slow_connects, seconds))[-5:]


def connect(place: Place) -> socket.socket:
    """A connection to a listener."""
    if not place.port:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(place.host)
        return sock
    return socket.create_connection((place.host, place.port), PATIENCE)
