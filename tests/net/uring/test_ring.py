"""The ring itself, beside the kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.net.uring.available import uring

COMPLETION = struct.Struct("=QiI")


@uring
class RingTests(SynchronousTestCase):
    """What the two queues do."""

    def ring(self, *arguments: Any, **options: Any) -> Any:
        """One that is closed in the end."""
        from tcpmesh.net.uring.ring import Ring

        ring = Ring(*arguments, **options)
        self.addCleanup(ring.close)
        return ring

    def completions(self, ring: Any) -> list[tuple[int, int, int]]:
        """Those that are new: what they are known by, the result, the flags."""
        head, tail = ring.words[ring.cq_head], ring.words[ring.cq_tail]
        found = []
        while head != tail:
            at = head % ring.room * COMPLETION.size
            found.append(COMPLETION.unpack_from(ring.cqes, at))
            head += 1
        ring.words[ring.cq_head] = head
        return found

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        return near, far

    def test_send(self) -> None:
        """An entry is carried out when it is handed over, and its completion has the number it was
        given and what the system call would have returned.
        """
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        for flags in (0, 1 << 16):
            ring, (near, far) = self.ring(flags=flags), self.pair()
            memory = bytearray(b"hello")
            ring.put(OP_SEND, near.fileno(), 0, address_of(memory), 5, 0, 77)
            ring.submit()
            self.assertEqual([(77, 5, 0)], self.completions(ring))
            self.assertEqual(b"hello", far.recv(10))

    def test_more_entries_than_room(self) -> None:
        """More entries than the queue holds are all carried out, in their order, and the queue goes
        round and round.
        """
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        ring, (near, far) = self.ring(entries=8), self.pair()
        memory = bytearray(range(100))
        for number in range(100):
            ring.put(OP_SEND, near.fileno(), 0, address_of(memory) + number, 1, 0, number)
        ring.submit()
        self.assertEqual(bytes(range(100)), far.recv(1000))
        self.assertEqual([(each, 1, 0) for each in range(100)], self.completions(ring))

    def test_wait(self) -> None:
        """Waiting ends with the first completion, or in vain after its time."""
        from tcpmesh.net.uring.ring import OP_POLL_ADD

        ring, (near, far) = self.ring(), self.pair()
        ring.put(OP_POLL_ADD, near.fileno(), 0, 0, 0, 1, 5)
        ring.wait(0.001)
        self.assertEqual([], self.completions(ring))
        far.send(b"x")
        ring.wait(60)
        self.assertEqual([(5, 1, 0)], self.completions(ring))

    def test_refused(self) -> None:
        """Where the system refuses a ring, the error is the system's."""
        from tcpmesh.net.uring import ring

        for number in (errno.EPERM, errno.ENOSYS):
            error = OSError(number, os.strerror(number))
            with mock.patch.object(ring, "_call", side_effect=error):
                found = self.assertRaises(OSError, ring.Ring)
            self.assertEqual(number, found.errno)

    def test_no_memory(self) -> None:
        """Where the user may lock no more memory, the error names the limit."""
        from tcpmesh.net.uring import ring

        error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        with mock.patch.object(ring, "_call", side_effect=error):
            found = self.assertRaises(OSError, ring.Ring)
        self.assertIn("RLIMIT_MEMLOCK", str(found.strerror))

    def test_older_kernel(self) -> None:
        """A kernel that does not know the flag that saves an indirection is asked without it; one
        that refuses that too is too old.
        """
        from tcpmesh.net.uring import ring

        real = ring._call
        refused: list[int] = []

        def call(number: int, *arguments: int) -> int:
            if number == ring.SYS_SETUP and len(refused) < 1:
                refused.append(number)
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return real(number, *arguments)

        with mock.patch.object(ring, "_call", call):
            older = ring.Ring()
        self.addCleanup(older.close)
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        near, far = self.pair()
        memory = bytearray(b"old")
        older.put(OP_SEND, near.fileno(), 0, address_of(memory), 3, 0, 1)
        older.submit()
        self.assertEqual(b"old", far.recv(10))
        with mock.patch.object(ring, "_call", side_effect=OSError(errno.EINVAL, "no")):
            self.assertRaises(OSError, ring.Ring)

    def test_descriptors(self) -> None:
        """A ring that is closed, or could not be mapped, leaves no descriptor."""
        from tcpmesh.net.uring import ring

        before = sorted(os.listdir("/proc/self/fd"))
        ring.Ring().close()
        with mock.patch("mmap.mmap", side_effect=OSError(errno.ENOMEM, "full")):
            self.assertRaises(OSError, ring.Ring)
        self.assertEqual(before, sorted(os.listdir("/proc/self/fd")))

    def test_other_thread(self) -> None:
        """A ring belongs to the thread that made it: what another one hands over is refused."""
        ring = self.ring()
        raised: list[int | None] = []

        def exchange() -> None:
            try:
                ring.exchange()
            except OSError as e:
                raised.append(e.errno)

        thread = threading.Thread(target=exchange)
        thread.start()
        thread.join()
        self.assertEqual([errno.EEXIST], raised)
        ring.exchange()
