"""Transports with filters that change bytes, both ends of a connection alike, for the suites that
any transport has to pass.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from tcpmesh.connection.byte_filters.base import ByteFilter, FilterFactory
from tcpmesh.connection.byte_filters.transport import FilteredTransport
from tcpmesh.connection.connection import Connection
from tcpmesh.testing.wrappers import Make
from tcpmesh.values.filter_status import FilterStatus

LENGTH = struct.Struct("!H")
LONGEST = 1000
"""Less than any buffer may hold, or a piece would never be whole."""
FEW = 10
"""Bytes that `Delaying` parts from the others."""

_SCRAMBLED = bytes(byte ^ 0x5A for byte in range(256))


class Framing(ByteFilter):
    """Writes the length before each piece, and takes it off on the other side: bytes get more,
    and come together and apart.
    """

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        plain, at = bytearray(), 0
        while len(data) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(data, at)
            start = at + LENGTH.size
            if len(data) < start + size:
                break
            plain += data[start : start + size]
            at = start + size
        del data[:at]
        if data and not end:
            self.callbacks.inject_data(plain)
            return FilterStatus.STOP
        data[:] = plain
        return FilterStatus.CONTINUE

    def on_write(self, data: bytearray, end: bool) -> FilterStatus:
        pieces = [data[at : at + LONGEST] for at in range(0, len(data), LONGEST)]
        data[:] = b"".join(LENGTH.pack(len(piece)) + piece for piece in pieces)
        return FilterStatus.CONTINUE


class Scrambling(ByteFilter):
    """Makes each byte another, and that one again on the other side: as many as they were."""

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        data[:] = data.translate(_SCRAMBLED)
        return FilterStatus.CONTINUE

    on_write = on_data


class DelayingWrites(ByteFilter):
    """Holds what is for the peer, and its end, until the next turn, and lets it go in other pieces:
    a few bytes, and in the turn after that the rest.
    """

    def __init__(self, factory: Any, callbacks: Any) -> None:
        super().__init__(factory, callbacks)
        self._write = _Delay(callbacks, callbacks.inject_write, callbacks.retry_write)

    def on_write(self, data: bytearray, end: bool) -> FilterStatus:
        return self._write.hold(data)


class Delaying(DelayingWrites):
    """... what comes from it too."""

    def __init__(self, factory: Any, callbacks: Any) -> None:
        super().__init__(factory, callbacks)
        self._data = _Delay(callbacks, callbacks.inject_data, callbacks.retry_data)

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        return self._data.hold(data)


class _Delay:
    """That of one direction."""

    def __init__(
        self, callbacks: Any, inject: Callable[[bytes], None], retry: Callable[[], None]
    ) -> None:
        self._call_later = callbacks.call_later
        self._inject = inject
        self._retry = retry
        self._waits = self._goes = self._parted = False

    def hold(self, data: bytearray) -> FilterStatus:
        """Hold it, or let a part go if its time has come."""
        if self._goes:
            self._goes, self._parted = False, not self._parted
            if not self._parted or len(data) <= FEW:
                return FilterStatus.CONTINUE
            few = bytes(data[:FEW])
            del data[:FEW]
            self._inject(few)
        if not self._waits:
            self._waits = True
            self._call_later(0, self._let_go)
        return FilterStatus.STOP

    def _let_go(self) -> None:
        self._waits, self._goes = False, True
        self._retry()


class Splitting(ByteFilter):
    """Lets the client's bytes go on one by one, where there are few."""

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        if len(data) <= 100:
            for byte in data[:-1]:
                self.callbacks.inject_data(bytes([byte]))
            del data[:-1]
        return FilterStatus.CONTINUE


def filtered(*filters: type[ByteFilter]) -> Make:
    """Makes a transport with these filters, the first lowest."""

    def made(filter_class: type[ByteFilter]) -> FilterFactory:
        factory = FilterFactory()
        factory.filter_class = filter_class
        return factory

    factories = [made(each) for each in filters]

    class Filtered(FilteredTransport):
        """Begins with its filters before it is ready."""

        __slots__ = ()

        def begin(self) -> None:
            """Nobody may write before there are filters."""
            connection = Connection(None)
            connection.transport = self
            self.run(connection, factories, lambda connection: None)
            super().begin()

        def released(self) -> None:
            """There is no connection that would tell its end."""
            super().released()
            self._running.clear()
            self._connection = None

    return lambda clock, observer, connected: Filtered(clock, observer)
