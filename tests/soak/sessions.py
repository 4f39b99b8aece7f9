"""Strange clients and strange backends.

Each session has a number, from which client and backend know, each for itself, what both will send
and how both will end.  So each can say whether it got what it had to get: all of it where neither
breaks off, else a beginning of it.  They use buffers of all sizes, half-close, read slowly or not
at all, and leave in every way there is.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

HEADER = 8
"""Bytes that a client sends first: the number of its session."""

PATIENCE = 20.0
"""Seconds without a byte until a session is stuck."""

BULK = 8 << 20
KIB = 1 << 10

NOISE = Random(3).randbytes((1 << 20) + 4096)
"""What is sent: a window of this, which begins at another place for each session and direction."""

RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Script:
    """What one side does."""

    sends: int
    """Bytes, if nobody breaks off."""

    start: int
    """Where in `NOISE` they begin."""

    chunk: int
    reads: int
    """Bytes written, and read, at once at most."""

    pause: float
    """Seconds between two reads of a slow reader; the first quarter of a megabyte only, or no
    session would end.
    """

    buffer: int
    """SO_RCVBUF and SO_SNDBUF, 0 for the kernel's own.  With still less room the kernel drops small
    pieces, and sends them again after ever longer times, also where no proxy is between.
    """

    end: str
    """"fin" when all is sent, or "close", "reset" or "leave" (reading nothing) after so many bytes
    received: `breaks`.
    """

    breaks: int

    stubborn: bool
    """Whether it reads only once it has sent all."""

    urgent: bool
    """Whether there is a byte of urgent data in the middle, over TCP."""


@dataclass(frozen=True)
class Session:
    """What both sides do."""

    number: int
    client: Script
    backend: Script

    @property
    def orderly(self) -> bool:
        """Whether all bytes must arrive."""
        return self.client.end == self.backend.end == "fin"


def script(random: Random, bulk: bool) -> Script:
    """A side of some kind."""
    sends = random.choice(
        [0, 1, 1000, 70_000, random.randrange(1 << 20), random.randrange(2 << 20)]
    )
    end = random.choice(["fin"] * 5 + ["close", "reset", "leave"])
    return Script(
        sends=BULK if bulk else sends,
        start=random.randrange(4096),
        chunk=1 << 20 if bulk else random.choice([100, 4 * KIB, 64 * KIB, 1 << 20]),
        reads=1 << 20 if bulk else random.choice([500, 4 * KIB, 64 * KIB, 1 << 20]),
        pause=0.0 if bulk else random.choice([0.0, 0.0, 0.0, 0.002]),
        buffer=0 if bulk else random.choice([0, 0, 0, 8 * KIB, 32 * KIB]),
        end="fin" if bulk else end,
        breaks=random.choice([0, 0, 1, 100_000, random.randrange(1 << 20)]),
        stubborn=False,
        urgent=random.random() < 0.1,
    )


def session(number: int) -> Session:
    """What happens in the session of this number; one in fifty moves 8 MiB both ways at once."""
    random = Random(number)
    bulk = number % 50 == 7
    sides = script(random, bulk), script(random, bulk)
    if number % 25 == 3:
        # The proxy is full both ways, and then one side is gone: the other has to get rid of what
        # it has to say.
        gone = replace(sides[1], sends=BULK // 2, end="leave", breaks=0, buffer=0)
        sides = (
            replace(sides[0], sends=BULK // 2, chunk=1 << 20, end="fin", stubborn=True, buffer=0),
            gone,
        )
        if number % 2:
            sides = sides[1], sides[0]
    smallest = min((side.buffer for side in sides if side.buffer), default=BULK)
    # Into a tiny window the kernel sends a few times a second only.
    client, backend = (replace(side, sends=min(side.sends, 10 * smallest)) for side in sides)
    # Who waits for more than the other sends would wait for its FIN, which may not come either.
    client, backend = (
        replace(one, breaks=min(one.breaks, other.sends))
        for one, other in ((client, backend), (backend, client))
    )
    return Session(number, client, backend)


class Side:
    """One end of a session: it sends in a thread of its own while it reads."""

    def __init__(self, sock: socket.socket, does: Script, hears: Script, orderly: bool) -> None:
        self._sock = sock
        self._does = does
        self._hears = hears
        self._orderly = orderly
        self.received = 0
        self._sent = threading.Event()
        self._flaw: str | None = None
        sock.settimeout(PATIENCE)
        if does.buffer:
            for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, name, does.buffer)

    def play(self) -> str | None:
        """Do all of it; what was wrong, or `None`."""
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        try:
            flaw = self._receive()
        finally:
            sender.join(2 * PATIENCE)
            self._sock.close()
        return "the sender is stuck" if sender.is_alive() else self._flaw or flaw

    def _send(self) -> None:
        does, sent = self._does, 0
        urgent = does.urgent and self._sock.family != socket.AF_UNIX
        try:
            while sent < does.sends:
                begin = does.start + sent % (1 << 20)
                end = min(begin + does.chunk, does.start + (1 << 20), begin + does.sends - sent)
                sent += self._sock.send(memoryview(NOISE)[begin:end])
                if urgent and 2 * sent >= does.sends:
                    urgent = False
                    self._sock.send(b"!", socket.MSG_OOB)
            if does.end == "fin":
                self._sock.shutdown(socket.SHUT_WR)
        except TimeoutError:
            self._flaw = f"stuck after sending {sent} of {does.sends} bytes"
        except OSError:
            pass  # the other side, or our own, has broken off: whoever receives says whether it may
        finally:
            self._sent.set()

    def _receive(self) -> str | None:
        does, hears = self._does, self._hears
        if does.stubborn:
            self._sent.wait(2 * PATIENCE)
        try:
            while does.end == "fin" or self.received < does.breaks:
                data = self._sock.recv(does.reads)
                if not data:
                    break
                flaw = self._check(data)
                if flaw:
                    return flaw
                if does.pause and self.received < 1 << 18:
                    time.sleep(does.pause)
        except TimeoutError:
            return f"stuck after {self.received} of {hears.sends} bytes"
        except OSError as e:
            if self._orderly:
                return f"{e} after {self.received} of {hears.sends} bytes"
        if does.end == "reset":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._sock.close()
        elif does.end in ("close", "leave"):
            if does.end == "leave":
                time.sleep(0.2)
            self._break_off()
        elif self._orderly and self.received != hears.sends:
            return f"{self.received} of {hears.sends} bytes"
        return None

    def _break_off(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _check(self, data: bytes) -> str | None:
        """Whether these are the next bytes of what the other side sends."""
        position, view = 0, memoryview(data)
        while position < len(view):
            begin = self._hears.start + self.received % (1 << 20)
            size = min(len(view) - position, self._hears.start + (1 << 20) - begin)
            if view[position : position + size] != memoryview(NOISE)[begin : begin + size]:
                return f"other bytes than were sent, behind the first {self.received}"
            position += size
            self.received += size
        return (
            None
            if self.received <= self._hears.sends
            else f"{self.received} bytes, more than were sent"
        )


Flawed = Callable[[int, str, str, Any], object]
"""Is told the number of a session, whose side it was, what was wrong, and the address of the proxy
that the side was connected to.
"""


class Backends:
    """Servers that play their side of sessions: over TCP, at several ports, and at a path."""

    def __init__(self, folder: Path, count: int, flawed: Flawed) -> None:
        self.path = folder / "backend.sock"
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(self.path))
        unix.listen(1024)
        tcp = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(count)]
        self.ports = [int(each.getsockname()[1]) for each in tcp]
        self._listening = (unix, *tcp)
        self._flawed = flawed
        for sock in self._listening:
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                accepted = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=accepted, daemon=True).start()

    def _serve(self, sock: socket.socket, peer: Any) -> None:
        sock.settimeout(PATIENCE)
        header = b""
        try:
            while len(header) < HEADER and (data := sock.recv(HEADER - len(header))):
                header += data
        except OSError:
            header = b""
        if len(header) < HEADER:
            sock.close()  # a client that broke off before anything of it had arrived
            return
        number = int.from_bytes(header, "big")
        plan = session(number)
        flaw = Side(sock, plan.backend, plan.client, plan.orderly).play()
        if flaw:
            self._flawed(number, "backend", flaw, peer)

    def close(self) -> None:
        """Accept no more."""
        for sock in self._listening:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
