"""Strange clients and strange backends against a real `twistd tcpmesh`, for as long as one likes:
`make soak`.

Each session has a number, from which client and backend know, each for itself, what both will send
and how both will end. So each can say whether it got what it had to get: all of it where neither
breaks off, else a beginning of it.  Sessions run beside each other, over IPv4, IPv6 and unix
sockets, upstream too, with buffers of all sizes.  At the end nothing may be left of them in the
proxy: no connection in its gauges, no descriptor, no pause without its resume, and no memory beyond
the start's.

    python -m tests.integration.soak --seconds 60 --transport epoll
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tcpmesh.testing.child import Child, free_port
from tests.integration.test_serve import bootstrap, cluster, listener, memory, pipe, reset, tcp

HEADER = 8
"""Bytes that a client sends first: the number of its session."""

PATIENCE = 30.0
"""Seconds without a byte until a session is stuck."""

AT_ONCE = 24
"""Sessions beside each other."""

BULK = 64 << 20
KIB = 1 << 10

NOISE = Random(3).randbytes((1 << 20) + 4096)
"""What is sent: a window of this, which begins at another place for each session and direction."""

MOST_GROWTH = 24 << 20
"""Bytes that the proxy's memory may grow between the first sessions and the last."""


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
    """Seconds between two reads of a slow reader; the first megabyte only, or no session would
    end.
    """

    buffer: int
    """SO_RCVBUF and SO_SNDBUF, 0 for the kernel's own."""

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
        [0, 1, 1000, 70_000, random.randrange(1 << 20), random.randrange(8 << 20)]
    )
    end = random.choice(["fin"] * 5 + ["close", "reset", "leave"])
    return Script(
        sends=BULK if bulk else sends,
        start=random.randrange(4096),
        chunk=1 << 20 if bulk else random.choice([100, 4 * KIB, 64 * KIB, 1 << 20]),
        reads=1 << 20 if bulk else random.choice([500, 4 * KIB, 64 * KIB, 1 << 20]),
        pause=0.0 if bulk else random.choice([0.0, 0.0, 0.0, 0.002]),
        buffer=0 if bulk else random.choice([0, 0, 0, 2 * KIB, 32 * KIB]),
        end="fin" if bulk else end,
        breaks=random.choice([0, 0, 1, 100_000, random.randrange(1 << 20)]),
        stubborn=False,
        urgent=random.random() < 0.1,
    )


def session(number: int) -> Session:
    """What happens in the session of this number; one in fifty moves 64 MiB both ways at once."""
    random = Random(number)
    bulk = number % 50 == 7
    sides = script(random, bulk), script(random, bulk)
    if number % 25 == 3:
        # The proxy is full both ways, and then one side is gone: the other has to get rid of what
        # it has to say.
        gone = replace(sides[1], sends=BULK // 4, end="leave", breaks=0, buffer=0)
        sides = (
            replace(sides[0], sends=BULK // 4, chunk=1 << 20, end="fin", stubborn=True, buffer=0),
            gone,
        )
        if number % 2:
            sides = sides[1], sides[0]
    smallest = min((side.buffer for side in sides if side.buffer), default=BULK)
    # Into a tiny window the kernel sends a few times a second only.
    client, backend = (replace(side, sends=min(side.sends, 20 * smallest)) for side in sides)
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
                if does.pause and self.received < 1 << 20:
                    time.sleep(does.pause)
        except TimeoutError:
            return f"stuck after {self.received} of {hears.sends} bytes"
        except OSError as e:
            if self._orderly:
                return f"{e} after {self.received} of {hears.sends} bytes"
        if does.end == "reset":
            reset(self._sock)
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


class Soak:
    """The backends, the clients and what they found."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "backend.sock"
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(self.path))
        unix.listen(1024)
        self.tcp = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listeners = (self.tcp, unix)
        self.flaws: list[str] = []
        self.played: Counter[str] = Counter()
        for sock in self.listeners:
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()

    def _accept(self, sock: socket.socket) -> None:
        while True:
            try:
                accepted, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
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
        plan = session(int.from_bytes(header, "big"))
        self._note(plan, "backend", Side(sock, plan.backend, plan.client, plan.orderly).play())

    def client(self, number: int, connect: Callable[[], socket.socket]) -> None:
        """Be the client of a session."""
        plan = session(number)
        try:
            sock = connect()
            sock.sendall(number.to_bytes(HEADER, "big"))
        except OSError as e:
            self.flaws.append(f"session {number}: {e}")
            return
        self._note(plan, "client", Side(sock, plan.client, plan.backend, plan.orderly).play())
        self.played["orderly" if plan.orderly else "broken off"] += 1

    def _note(self, plan: Session, who: str, flaw: str | None) -> None:
        if flaw:
            self.flaws.append(f"session {plan.number}, {who}: {flaw}; {plan}")

    def close(self) -> None:
        """Accept no more."""
        for sock in self.listeners:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def config(soak: Soak, port: int, path: Path) -> str:
    """Three listeners, two of which have an upstream of another family."""
    kinds = (
        ("tcp4", tcp("127.0.0.1", port), "unix"),
        ("tcp6", tcp("::1", port), "tcp"),
        ("unix", pipe(path), "tcp"),
    )
    clusters = cluster("tcp", tcp("127.0.0.1", soak.tcp.getsockname()[1]), LIMITS) + cluster(
        "unix", pipe(soak.path), LIMITS
    )
    return bootstrap(
        "".join(listener(name, address, f"cluster: {up}") for name, address, up in kinds), clusters
    )


LIMITS = ", circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096}]}"


def left(stats: dict[str, int]) -> dict[str, int]:
    """What ought to be 0 once nobody is connected, and is not: the admin interface is, by whoever
    asks for the statistics.
    """
    ours = ("cluster.", "listener.", "tcp.")
    stats = {
        name: value
        for name, value in stats.items()
        if name.startswith(ours) and not name.startswith("listener.admin.")
    }
    found = {
        name: value
        for name, value in stats.items()
        if value and name.endswith(("_active", "_buffered"))
    }
    for name, paused in stats.items():
        resumed = stats.get(name.replace("paused", "resumed"), paused)
        if name.endswith("paused_reading_total") and paused != resumed:
            found[name] = paused - resumed
    return found


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def play(soak: Soak, connects: list[Callable[[], socket.socket]], first: int, until: float) -> int:
    """Play sessions from this number on, so many at once, until it is time; the number after the
    last.
    """
    numbers = iter(range(first, 1 << 60))
    lock = threading.Lock()
    last = first

    def work() -> None:
        nonlocal last
        while time.monotonic() < until and not soak.flaws:
            with lock:
                number = last = next(numbers)
            soak.client(number, connects[number % len(connects)])

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return last + 1


def settle(child: Child) -> dict[str, int]:
    """Wait until nothing is left; what is left all the same."""
    limit = time.monotonic() + PATIENCE
    while (rest := left(child.stats())) and time.monotonic() < limit:
        time.sleep(0.2)
    return rest


def run(transport: str, seconds: float, seed: int) -> list[str]:
    """Soak a proxy over these transports; what was wrong."""
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        directory = Path(name)
        soak, port, path = Soak(directory), free_port(), directory / "proxy.sock"
        with Child(config(soak, port, path), environ={"TCPMESH_TRANSPORT": transport}) as child:
            child.wait_ready()
            connects = [
                lambda: socket.create_connection(("127.0.0.1", port)),
                lambda: socket.create_connection(("::1", port)),
                lambda: _connect_unix(path),
            ]
            # What the proxy needs for as much traffic as this is there after a while, pipes
            # included: that is the start.
            number = play(soak, connects, seed, time.monotonic() + seconds / 4)
            settle(child)
            before = descriptors(child.pid), memory(child.pid)
            number = play(soak, connects, number, time.monotonic() + seconds * 3 / 4)
            rest = settle(child)
            after = descriptors(child.pid), memory(child.pid)
            print(
                f"{transport}: {number - seed} sessions ({dict(soak.played)}), descriptors "
                f"{before[0]} -> {after[0]}, "
                f"memory {before[1] >> 20} -> {after[1] >> 20} MiB, left {rest}"
            )
            flaws = list(soak.flaws)
            if rest:
                flaws.append(f"left: {rest}")
            if after[0] > before[0] + 64:  # pipes that are kept for the next pump
                flaws.append(f"descriptors: {before[0]} -> {after[0]}")
            if after[1] > before[1] + MOST_GROWTH:
                flaws.append(f"memory: {before[1]} -> {after[1]}")
            if "Traceback" in child.output:
                flaws.append(child.output)
        soak.close()
        return flaws


def _connect_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Strange clients and backends against a running tcpmesh."
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long, for each kind of transports (60)"
    )
    parser.add_argument("--transport", choices=["epoll", "stock"], help="one kind only")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first session (0)")
    arguments = parser.parse_args()
    flaws = []
    for transport in [arguments.transport] if arguments.transport else ["epoll", "stock"]:
        flaws += run(transport, arguments.seconds, arguments.seed)
    for flaw in flaws:
        print(flaw)
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
