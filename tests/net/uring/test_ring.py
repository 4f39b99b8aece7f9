"""The ring itself, beside the kernel."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import LogLevel, capturedLogs
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
        """An entry is carried out when it is handed over, not before, and its completion has the
        number it was given and what the system call would have returned.
        """
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        for flags in (0, 1 << 16):
            ring, (near, far) = self.ring(flags=flags), self.pair()
            memory = bytearray(b"hello")
            ring.put(OP_SEND, near.fileno(), 0, address_of(memory), 5, 0, 77)
            self.assertRaises(BlockingIOError, far.recv, 10, socket.MSG_DONTWAIT)
            ring.submit()
            self.assertEqual([(77, 5, 0)], self.completions(ring))
            self.assertEqual(b"hello", far.recv(10))

    def test_more_entries_than_room(self) -> None:
        """More entries than the queue holds are all carried out, in their order, and the queue goes
        round and round; completions for which there is no room come as soon as there is.
        """
        from tcpmesh.net.uring.ring import OP_SEND, SQ_CQ_OVERFLOW, address_of

        for flags in (0, 1 << 16):
            ring, (near, far) = self.ring(entries=8, flags=flags), self.pair()
            memory = bytearray(range(100))
            for number in range(100):
                ring.put(OP_SEND, near.fileno(), 0, address_of(memory) + number, 1, 0, number)
            ring.submit()
            self.assertEqual(bytes(range(100)), far.recv(1000))
            self.assertTrue(ring.words[ring.sq_flags] & SQ_CQ_OVERFLOW)
            found: list[tuple[int, int, int]] = []
            while len(found) < 100:
                some = self.completions(ring)
                self.assertLessEqual(len(some), ring.room)
                found += some
                ring.exchange()
            self.assertEqual([(each, 1, 0) for each in range(100)], found)
            self.assertFalse(ring.words[ring.sq_flags] & SQ_CQ_OVERFLOW)

    def test_sizes(self) -> None:
        """A ring has as many entries as were asked for, up to a power of two, and twice as many
        completions.
        """
        for asked, entries in ((8, 8), (9, 16), (1024, 1024)):
            ring = self.ring(asked)
            self.assertEqual((entries, 2 * entries), (ring.entries, ring.room))
            self.assertEqual((entries, entries), (len(ring.sqes) // 64, len(ring.cqes) // 32))

    def test_interrupted(self) -> None:
        """Where the kernel takes none of the entries for now, or not all, they are handed over
        again, each once.
        """
        from tcpmesh.net.uring import ring as module
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        real = module._enter
        refusals = [errno.EINTR, 0, errno.EBUSY, 0, errno.EAGAIN]

        def enter(what: int, fd: int, count: int, *rest: Any) -> int:
            if count and refusals and (refused := refusals.pop()):
                ctypes.set_errno(refused)
                return -1
            taken: int = real(what, fd, min(count, 1) if refusals else count, *rest)
            return taken

        for hand_over in ("submit", "exchange", "wait"):
            ring, (near, far) = self.ring(), self.pair()
            refusals[:] = [errno.EINTR, 0, errno.EBUSY, 0, errno.EAGAIN]
            memory = bytearray(b"hello")
            for number in range(5):
                ring.put(OP_SEND, near.fileno(), 0, address_of(memory) + number, 1, 0, number)
            with mock.patch.object(module, "_enter", enter):
                getattr(ring, hand_over)(*([0.0] if hand_over == "wait" else []))
            self.assertEqual(b"hello", far.recv(10))
            self.assertEqual([(each, 1, 0) for each in range(5)], self.completions(ring))

    def test_lost(self) -> None:
        """Where the kernel has lost completions it says so once; the log does, and all goes on."""
        from tcpmesh.net.uring import ring as module
        from tcpmesh.net.uring.ring import OP_SEND, address_of

        real = module._enter
        refusals = [errno.EBADR]

        def enter(*arguments: Any) -> int:
            if refusals:
                ctypes.set_errno(refusals.pop())
                return -1
            return int(real(*arguments))

        ring, (near, far) = self.ring(), self.pair()
        memory = bytearray(b"hello")
        ring.put(OP_SEND, near.fileno(), 0, address_of(memory), 5, 0, 1)
        with mock.patch.object(module, "_enter", enter), capturedLogs() as logged:
            ring.exchange()
        self.assertEqual(b"hello", far.recv(10))
        (event,) = logged
        self.assertEqual(LogLevel.critical, event["log_level"])
        self.assertIn("no memory", event["log_format"])

    def test_failing(self) -> None:
        """Any other error of the kernel's is raised."""
        from tcpmesh.net.uring import ring as module

        def enter(*arguments: Any) -> int:
            ctypes.set_errno(errno.EBADF)
            return -1

        ring = self.ring()
        with mock.patch.object(module, "_enter", enter):
            found = self.assertRaises(OSError, ring.exchange)
        self.assertEqual((errno.EBADF, os.strerror(errno.EBADF)), (found.errno, found.strerror))
        found = self.assertRaises(OSError, ring.register, 4, bytearray(b"\xff" * 4), 1)
        self.assertEqual((errno.EBADF, os.strerror(errno.EBADF)), (found.errno, found.strerror))

    def test_waits_its_time(self) -> None:
        """It waits for whole seconds and their parts."""
        from tcpmesh.net.uring.ring import TIMESPEC

        ring = self.ring()
        told: list[bytes] = []
        ring._enter = lambda *rest: told.append(bytes(ring._timespec))
        for seconds in (0.25, 3.0, 1.5):
            ring.wait(seconds)
        self.assertEqual(
            [(0, 250_000_000), (3, 0), (1, 500_000_000)], [TIMESPEC.unpack(each) for each in told]
        )

    def test_unmapped(self) -> None:
        """A ring that is closed gives back its memory, which counts for the user."""
        from tcpmesh.net.uring.ring import Ring

        maps = Path("/proc/self/maps")
        gc.collect()
        before = maps.read_text().count("io_uring")
        ring = Ring()
        self.assertGreater(maps.read_text().count("io_uring"), before)
        ring.close()
        self.assertEqual(before, maps.read_text().count("io_uring"))

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
