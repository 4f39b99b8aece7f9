"""Connections through a proxy of which both ends are here, in one thread: what each sends is known,
so each byte that arrives is looked at, and how long it took.

Some talk in both directions at random, some of these have ended in one direction, some are stalled
in one, as nobody reads there; and newcomers connect, say a word, hear one and go.
"""

from __future__ import annotations

import heapq
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random

HEADER = struct.Struct("<Q")
"""What a client sends first: the number of its connection."""

NOISE = Random(3).randbytes(1 << 20)
NOISE_TWICE = memoryview(NOISE * 2)

CHUNK = 1 << 16
STALLED_BYTES = 4 << 20
NEWCOMERS = 1 << 32
"""The number of the first of them."""

WORD = 64
"""Bytes that a newcomer says."""

MOST_NEWCOMERS = 4000
"""At once; where they are not served as fast as they come there are to be no more."""

PATIENCE = 20.0
"""Seconds that a newcomer may take."""


class Flow:
    """The bytes of one direction of one connection."""

    __slots__ = ("due", "is_ending", "is_over", "is_stalled", "marks", "received", "sent", "start")

    def __init__(self, start: int) -> None:
        self.start = start % len(NOISE)
        self.due = self.sent = self.received = 0
        """Bytes that are to be sent, that were, and that have arrived."""
        self.is_ending = self.is_over = self.is_stalled = False
        """Whether no more are to be sent, whether its end has arrived, whether nobody reads it."""
        self.marks: deque[tuple[int, float]] = deque()
        """Messages on their way: where each ends, and since when."""

    def piece(self) -> memoryview:
        """What is to be sent next."""
        at = (self.start + self.sent) % len(NOISE)
        return NOISE_TWICE[at : at + min(self.due - self.sent, CHUNK)]

    def is_right(self, data: bytes) -> bool:
        """Whether these are the bytes that had to come next."""
        at = (self.start + self.received) % len(NOISE)
        return NOISE_TWICE[at : at + len(data)] == data


class End:
    """One end of a connection."""

    __slots__ = ("coming", "events", "going", "has_shut", "reads", "sock")

    def __init__(self, sock: socket.socket, going: Flow, coming: Flow) -> None:
        self.sock = sock
        self.going = going
        self.coming = coming
        self.reads = True
        self.has_shut = False
        self.events = 0


class Pair:
    """A connection: the end of the client, and that of the server once it has come there."""

    __slots__ = ("client", "down", "number", "server", "since", "up")

    def __init__(self, number: int, sock: socket.socket, now: float) -> None:
        self.number = number
        self.up, self.down = Flow(number * 7919), Flow(number * 104_729 + 1)
        self.client = End(sock, self.up, self.down)
        self.server: End | None = None
        self.since = now

    @property
    def is_over(self) -> bool:
        """Whether all has arrived, and both ends."""
        return self.up.is_over and self.down.is_over


class Traffic:
    """All connections.

    :param port: of the proxy on loopback.
    """

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.port = 0
        self.failures: list[str] = []
        self.pairs: dict[int, Pair] = {}
        self.delays: list[tuple[float, float]] = []
        """Of each message when it was sent, and the seconds that it took."""
        self.newcomers = 0
        """Those that have come and gone."""
        self.bytes = 0
        self._epoll = select.epoll()
        self._by_fd: dict[int, tuple[Pair, End]] = {}
        self._unknown: dict[int, tuple[socket.socket, bytearray]] = {}
        """Connections to the server of which nobody knows the number yet."""
        self._calls: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._next = count(NEWCOMERS)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listening.setblocking(False)
        self.server_port = int(self._listening.getsockname()[1])
        self._epoll.register(self._listening, select.EPOLLIN)
        self.is_over = False

    # Time

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something then."""
        heapq.heappush(self._calls, (time.monotonic() + seconds, next(self._order), act))

    def run(self, until: Callable[[], object], seconds: float) -> bool:
        """Serve until something is true; whether it is before these seconds are over."""
        end = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now >= end:
                return False
            while self._calls and self._calls[0][0] <= now:
                heapq.heappop(self._calls)[2]()
            left = self._calls[0][0] - now if self._calls else 0.05
            for fd, events in self._epoll.poll(max(0.0, min(left, 0.05)), 256):
                self._event(fd, events)
        return True

    # Connections

    def connect(self, number: int, stalled: bool = False) -> Pair | None:
        """One more client."""
        sock = socket.socket()
        if stalled:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(("127.0.0.1", self.port))
        except BlockingIOError:
            pass
        except OSError as e:
            self._fails(number, f"connect: {e.strerror}")
            sock.close()
            return None
        pair = self.pairs[number] = Pair(number, sock, time.monotonic())
        self._by_fd[sock.fileno()] = pair, pair.client
        self._epoll.register(sock, 0)
        self._watch(pair.client)
        return pair

    def talk(self, pair: Pair, mean: float) -> None:
        """Say something every so many seconds, in either direction."""

        def say() -> None:
            if not self.is_over:
                self._say(pair, self.random.choice((pair.up, pair.down)))
                self.later(self.random.expovariate(1 / mean), say)

        self.later(self.random.uniform(0, mean), say)

    def _say(self, pair: Pair, flow: Flow) -> None:
        end = pair.client if flow is pair.up else pair.server
        if end is None or flow.is_ending:
            return
        flow.due += self.random.choice((1, 20, 300, 1500, 9000))
        if not flow.is_stalled:
            flow.marks.append((flow.due, time.monotonic()))
        self._watch(end)

    def end(self, pair: Pair, flow: Flow) -> None:
        """No more is sent in a direction."""
        flow.is_ending = True
        end = pair.client if flow is pair.up else pair.server
        if end is not None:
            self._watch(end)

    def stall(self, pair: Pair, flow: Flow) -> None:
        """Much is sent in a direction, and nobody reads it."""
        flow.due += STALLED_BYTES
        flow.is_stalled = True
        for end in (pair.client, pair.server):
            if end is not None:
                if end.coming is flow:
                    end.reads = False
                self._watch(end)

    def finish(self) -> None:
        """Everybody reads, and ends."""
        self.is_over = True
        for pair in tuple(self.pairs.values()):
            for end in (pair.client, pair.server):
                if end is not None:
                    end.reads = True
                    end.going.is_ending = True
                    self._watch(end)

    def come(self, rate: float) -> None:
        """So many newcomers a second from now on."""
        begun, told, there = time.monotonic(), 0, len(self.pairs)

        def one_more() -> None:
            nonlocal told
            if self.is_over:
                return
            while told < (time.monotonic() - begun) * rate:
                told += 1
                if len(self.pairs) < there + MOST_NEWCOMERS:
                    self._newcomer()
            self.later(1 / rate, one_more)

        one_more()

    def _newcomer(self) -> None:
        pair = self.connect(next(self._next))
        if pair is not None:
            pair.up.due = WORD
            self._watch(pair.client)
            self.later(PATIENCE, lambda: self._is_late(pair))

    def _is_late(self, pair: Pair) -> None:
        if pair.number in self.pairs:
            self._fails(pair.number, f"it was not served within {PATIENCE:g} s")

    # Events

    def _watch(self, end: End) -> None:
        events = select.EPOLLIN if end.reads and not end.coming.is_over else 0
        if end.going.sent < end.going.due or (end.going.is_ending and not end.has_shut):
            events |= select.EPOLLOUT
        if end is not None and self._is_new(end):
            events |= select.EPOLLOUT
        if events != end.events and end.sock.fileno() >= 0:
            end.events = events
            self._epoll.modify(end.sock, events)

    def _is_new(self, end: End) -> bool:
        """Whether a client has not said its number."""
        found = self._by_fd.get(end.sock.fileno())
        return found is not None and end is found[0].client and found[0].since > 0

    def _event(self, fd: int, events: int) -> None:
        if fd == self._listening.fileno():
            self._accept()
        elif fd in self._unknown:
            self._introduce(fd)
        elif fd in self._by_fd:
            pair, end = self._by_fd[fd]
            try:
                if events & select.EPOLLOUT:
                    self._send(pair, end)
                if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    self._receive(pair, end)
            except BlockingIOError:
                pass
            except OSError as e:
                self._fails(pair.number, e.strerror or str(e))
                self._drop(pair)

    def _send(self, pair: Pair, end: End) -> None:
        if pair.since and end is pair.client:
            pair.since = 0.0
            end.sock.send(HEADER.pack(pair.number))
        going = end.going
        while going.sent < going.due:
            going.sent += end.sock.send(going.piece())
        if going.is_ending and not end.has_shut:
            end.has_shut = True
            end.sock.shutdown(socket.SHUT_WR)
        self._watch(end)

    def _receive(self, pair: Pair, end: End) -> None:
        if not end.reads:
            end.sock.send(b"")  # which tells of a reset
            return
        coming = end.coming
        data = end.sock.recv(CHUNK)
        if not data:
            coming.is_over = True
            if not coming.is_ending or coming.received < coming.due:
                self._fails(pair.number, "it was cut off")
        elif not coming.is_right(data):
            self._fails(pair.number, f"wrong bytes after {coming.received}")
        coming.received += len(data)
        self.bytes += len(data)
        now = time.monotonic()
        while coming.marks and coming.marks[0][0] <= coming.received:
            since = coming.marks.popleft()[1]
            self.delays.append((since, now - since))
        if pair.number >= NEWCOMERS:
            self._answer(pair, end)
        self._watch(end)
        if pair.is_over:
            self._drop(pair)

    def _answer(self, pair: Pair, end: End) -> None:
        """What a newcomer and its server do."""
        if end.coming.received == WORD and not end.going.is_ending:
            if end is pair.server:
                end.going.due = WORD
            end.going.is_ending = True

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._unknown[sock.fileno()] = sock, bytearray()
            self._epoll.register(sock, select.EPOLLIN)

    def _introduce(self, fd: int) -> None:
        sock, head = self._unknown[fd]
        try:
            data = sock.recv(HEADER.size - len(head))
        except BlockingIOError:
            return
        except OSError as e:
            self.failures.append(f"a connection to the server: {e.strerror}")
            data = b""
        head += data
        if not data or len(head) == HEADER.size:
            del self._unknown[fd]
            pair = self.pairs.get(HEADER.unpack(head)[0]) if data else None
            if pair is None:
                sock.close()
                return
            end = pair.server = End(sock, pair.down, pair.up)
            self._by_fd[fd] = pair, end
            end.events = select.EPOLLIN
            self._watch(end)

    def _fails(self, number: int, reason: str) -> None:
        kind = "a newcomer" if number >= NEWCOMERS else f"connection {number}"
        self.failures.append(f"{kind}: {reason}")

    def _drop(self, pair: Pair) -> None:
        if self.pairs.pop(pair.number, None) is None:
            return
        for end in (pair.client, pair.server):
            if end is not None:
                del self._by_fd[end.sock.fileno()]
                end.sock.close()
        if pair.number >= NEWCOMERS:
            self.newcomers += 1

    def close(self) -> None:
        """Leave nothing."""
        for pair in tuple(self.pairs.values()):
            self._drop(pair)
        for sock, _ in self._unknown.values():
            sock.close()
        self._listening.close()
        self._epoll.close()
