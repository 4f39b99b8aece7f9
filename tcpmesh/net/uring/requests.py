"""What channels ask of the ring, and what is under way for them.

Each entry is known by its kind and its descriptor, for a descriptor has one of each kind at most.
It is closed when nothing is under way with it any more.

`tcpmesh.net.uring.poller` hands the entries over, and `tcpmesh.net.uring.completions` serves what
comes of them.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Any

from tcpmesh.net.epoll.base_poller import BasePoller, Gone
from tcpmesh.net.uring.ring import (
    BUFFER_SELECT,
    CQE_SKIP_SUCCESS,
    OP_ASYNC_CANCEL,
    OP_CONNECT,
    OP_POLL_ADD,
    OP_RECV,
    POLL_ADD_MULTI,
    RECV_MULTISHOT,
    SQ_CQ_OVERFLOW,
    Ring,
    address_of,
)
from tcpmesh.values.address import Address

RECEIVED, SENT, CONNECTED, POLLED, READY, ROOM, CANCELLED = range(7)
"""What an entry was for: the lowest three bits of what it is known by.  The descriptor follows; for
a send it is its place in the submission queue.
"""

WEIGHTS = tuple(1 << 8 * kind for kind in range(CANCELLED))
"""What counts one of a kind."""

RECEIVE_ONCE = OP_RECV | BUFFER_SELECT << 8
RECEIVE = RECEIVE_ONCE | RECV_MULTISHOT << 16

CANCEL = OP_ASYNC_CANCEL | CQE_SKIP_SUCCESS << 8

MOST_AT_FIRST = 1024
"""Descriptors there is room for from the start."""

MOST_NAMES = 4096
"""Addresses whose form for the kernel is kept."""


class UringGone(Gone):
    """The channel of a descriptor that waits to be closed."""

    _onto = None

    def received(self, data: memoryview) -> None:
        pass

    def receive_ended(self, result: int) -> None:
        pass

    def connect_done(self, result: int) -> None:
        pass

    def has_become_ready(self, mask: int) -> None:
        pass

    def has_room(self, mask: int) -> None:
        pass

    def receive_anew(self) -> None:
        pass


GONE = UringGone()


class RingRequests(BasePoller):
    """The asking half of a `UringPoller`.

    :raise OSError: where there is no ring to be had.
    """

    def __init__(
        self, reactor: Any, now: Callable[[], float] = monotonic, busy: float = 0.0
    ) -> None:
        super().__init__(reactor, now, busy)
        self._ring = Ring()
        self._head = 0
        """How many completions were looked at."""
        self._under_way = [0] * MOST_AT_FIRST
        """What is under way, by descriptors: how many of each kind, by its `WEIGHTS`."""
        self._polls: dict[int, list[int]] = {}
        """By descriptors, the mask that it is watched with, in a list of its own for each time that
        somebody asked.
        """
        self._names: dict[tuple[str, int], tuple[int, int, bytearray]] = {}

    def receive(self, fd: int, channel: Any, most: int = 0) -> None:
        """Deliver to the channel what comes, until it is cancelled or the peer ends.

        :param most: deliver only once, and so many bytes at most.
        """
        self._channels[fd] = channel
        try:
            self._under_way[fd] += 1  # the weight of RECEIVED
        except IndexError:
            self._make_room(fd, 1)
        self._ring.put(RECEIVE_ONCE if most else RECEIVE, fd, 0, 0, most, 0, fd << 3 | RECEIVED)
        if not self._running:
            self._hand_over()

    def cancel_receive(self, fd: int) -> None:
        """Deliver no more; `receive_ended` follows."""
        self._cancel(fd << 3 | RECEIVED)
        if not self._running:
            self._hand_over()

    def connect(self, fd: int, channel: Any, address: Address) -> None:
        """Connect a socket; `connect_done` follows."""
        self._channels[fd] = channel
        # By its parts: an address hashes itself in Python.
        length, place, _ = self._names.get((address.host, address.port)) or self._name_of(address)
        self._put(OP_CONNECT, fd, length, place, 0, fd << 3 | CONNECTED)

    def await_room(self, fd: int, channel: Any) -> None:
        """Tell the channel once, by `has_room`, that the socket takes bytes, or has failed."""
        self._channels[fd] = channel
        self._put(OP_POLL_ADD, fd, 0, 0, select.EPOLLOUT, fd << 3 | ROOM)

    def await_ready(self, fd: int, channel: Any, mask: int) -> None:
        """Tell the channel once, by `has_become_ready`, that one of these epoll events is there, or
        that the socket has failed; what it tells are only those that came last.
        """
        self._channels[fd] = channel
        self._put(OP_POLL_ADD, fd, 0, 0, mask, fd << 3 | READY)

    def watch_for_reset(self, fd: int, channel: Any) -> None:
        """Tell the channel by `has_become_ready`, of a socket that has ended, each time something
        happens: that it has ended is known already, and would come at once for ever.
        """
        self._channels[fd] = channel
        self._put(OP_POLL_ADD, fd, 0, 0, 0, fd << 3 | READY, POLL_ADD_MULTI)

    def register(self, fd: int, channel: Any, mask: int) -> None:
        """Watch a descriptor as an epoll set does, level-triggered or once; its readiness of this
        moment is reported too.
        """
        self._channels[fd] = channel
        self._polls[fd] = [mask]
        self._poll(fd, mask)

    def _poll(self, fd: int, mask: int) -> None:
        self._put(OP_POLL_ADD, fd, 0, 0, mask & 0xFFFF, fd << 3 | POLLED)

    def close(self, fd: int) -> None:
        """Close a descriptor once the events in hand are served, and nothing is under way."""
        self._channels[fd] = GONE
        self._polls.pop(fd, None)
        self._closing.append(fd)
        if not self._running:
            self._wake()

    def _cancel_all_of(self, fd: int) -> None:
        """By what each is known by: the kernel's way to cancel by descriptor cancels by file, also
        what duplicates have under way.
        """
        for kind, weight in enumerate(WEIGHTS):
            if self._under_way[fd] & 0xFF * weight:
                self._cancel(fd << 3 | kind)

    def _cancel(self, known: int) -> None:
        self._ring.put(CANCEL, -1, 0, known, 0, 0, CANCELLED)

    def _is_under_way(self, fd: int) -> bool:
        return fd < len(self._under_way) and self._under_way[fd] != 0

    def _put(
        self, what: int, fd: int, offset: int, place: int, flags: int, known: int, length: int = 0
    ) -> None:
        weight = WEIGHTS[known & 7]
        try:
            self._under_way[fd] += weight
        except IndexError:
            self._make_room(fd, weight)
        self._ring.put(what, fd, offset, place, length, flags, known)
        if not self._running:
            self._hand_over()

    def _make_room(self, fd: int, weight: int) -> None:
        """The first thing is under way with a greater descriptor than ever."""
        self._under_way += [0] * fd  # so that there is at least twice as much
        self._under_way[fd] = weight

    def _hand_over(self) -> None:
        """Outside of a round nobody else would do it soon."""
        self._ring.submit()
        if self._has_more():
            self._wake()

    def _has_more(self) -> bool:
        """Whether there are completions that were not looked at."""
        ring, words = self._ring, self._ring.words
        return (
            bool(words[ring.sq_flags] & SQ_CQ_OVERFLOW)
            or words[ring.cq_tail] != self._head & 0xFFFFFFFF
        )

    def _name_of(self, address: Address) -> tuple[int, int, bytearray]:
        host, port = address.sockaddr
        if address.family == socket.AF_INET:
            name = struct.pack("=H", address.family)
            name += struct.pack("!H4s8x", port, socket.inet_pton(address.family, host))
        else:
            name = bytes(sockaddr_in6(host, port))
        if len(self._names) >= MOST_NAMES:
            self._ring.submit()  # what stands in the queue refers to them
            self._names.clear()
        memory = bytearray(name)
        found = self._names[address.host, address.port] = len(name), address_of(memory), memory
        return found


def sockaddr_in6(host: str, port: int) -> bytes:
    """`sockaddr_in6` of netinet/in.h; the host may name its zone."""
    info = socket.getaddrinfo(
        host, port, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
    )
    host, port, flow, scope = info[0][4]  # type: ignore[misc]
    return (
        struct.pack("=H", socket.AF_INET6)
        + struct.pack("!HI", port, flow)
        + socket.inet_pton(socket.AF_INET6, str(host).partition("%")[0])
        + struct.pack("=I", scope)
    )
