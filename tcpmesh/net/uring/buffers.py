"""The buffers that the kernel receives into: it takes one when bytes are there, not before, so that
a silent connection holds none.
"""

from __future__ import annotations

import mmap
import struct

from tcpmesh.net.uring.ring import PBUF_RING, REGISTER_PBUF_RING, Ring, address_of

ENTRY = struct.Struct("=QIH2x")
"""io_uring_buf."""

TAIL = 7
"""Where the ring's tail is, in units of 16 bits: in what the first entry does not use."""


class ReceiveBuffers:
    """Buffers that the kernel takes in a fixed order, over and over.

    Entry i of their ring always holds buffer i.  So giving back the oldest ones, however many, is
    to store one number.

    :param count: a power of two.
    :param size: bytes of each.
    """

    def __init__(self, ring: Ring, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._entries = mmap.mmap(-1, max(mmap.PAGESIZE, count * ENTRY.size))
        self._memory = mmap.mmap(-1, count * size)
        self.view = memoryview(self._memory)
        first = address_of(self._memory)
        self.places = tuple(first + number * size for number in range(count))
        """Their addresses."""
        for number, place in enumerate(self.places):
            ENTRY.pack_into(self._entries, number * ENTRY.size, place, size, number)
        self._words = memoryview(self._entries).cast("H")
        self._tail = 0
        self.give_back(count)
        registration = bytearray(PBUF_RING.pack(address_of(self._entries), count))
        ring.register(REGISTER_PBUF_RING, registration, 1)

    def give_back(self, count: int) -> None:
        """The oldest that the kernel has filled may be filled again, so many of them."""
        self._tail = (self._tail + count) & 0xFFFF
        self._words[TAIL] = self._tail
