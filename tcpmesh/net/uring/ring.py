"""io_uring without a library: two maps shared with the kernel, and three system calls of which one
is made often.

Entries of the submission queue say what the kernel is to do, entries of the completion queue what
came of it; one `enter` hands over all that was put meanwhile and comes back with all that was
completed.  The ring is set up so that the kernel touches it only within `enter`, called by the one
thread that made it (`IORING_SETUP_DEFER_TASKRUN`, Linux 6.1): so plain stores and loads from Python
are enough, on any processor, where others need memory barriers.

Names and numbers are those of linux/io_uring.h and io_uring_enter(2).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from math import modf
from typing import Any

from twisted.logger import Logger

log = Logger(namespace="connection")

ENTRIES = 1024
"""Submissions between two calls to the kernel.  Twice as many completions find room; the kernel
keeps further ones aside.  Both queues together are 100 KiB of locked memory, which the kernel
counts for each user (Linux 6.18 does), and with the ring of buffers 110: of the usual 8 MiB some
seventy can be made.
"""

SYS_SETUP, SYS_ENTER, SYS_REGISTER = 425, 426, 427

SETUP_SUBMIT_ALL = 1 << 7
SETUP_TASKRUN_FLAG = 1 << 9
SETUP_SINGLE_ISSUER = 1 << 12
SETUP_DEFER_TASKRUN = 1 << 13
SETUP_NO_SQARRAY = 1 << 16
"""Linux 6.6: one indirection less."""

SETUP = SETUP_SUBMIT_ALL | SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN

OFF_SQES = 0x10000000

ENTER_GETEVENTS = 1
ENTER_EXT_ARG = 8

REGISTER_EVENTFD = 4
REGISTER_PBUF_RING = 22

SQ_CQ_OVERFLOW, SQ_TASKRUN = 2, 4
CQ_EVENTFD_DISABLED = 1

OP_POLL_ADD = 6
OP_ASYNC_CANCEL = 14
OP_CONNECT = 16
OP_SEND = 26
OP_RECV = 27

POLL_ADD_MULTI = 1
RECV_MULTISHOT = 2
BUFFER_SELECT = 1 << 5
CQE_SKIP_SUCCESS = 1 << 6

CQE_BUFFER, CQE_MORE = 1, 2

AGAIN = frozenset((errno.EINTR, errno.EBUSY, errno.EAGAIN, errno.ENOMEM, errno.ETIME))
"""Errors of `enter` that say only that it is to be called again."""

LOST = errno.EBADR
"""What it says, once, after completions were lost for which the kernel had no memory."""

ENTRY = struct.Struct("=IiQQIIQ")
"""What we use of io_uring_sqe; its rest stays zero."""

ENTRY_SIZE, COMPLETION_SIZE, WORD = 64, 16, 4

ASKED = struct.Struct("=I4xI108x")
"""io_uring_params: how many entries, and flags."""

TOLD = struct.Struct("=2I32x4xI8xI4xI12x2I12x2I12x")
"""The same as it comes back: how many entries and completions, and where the queue of the ones has
its tail, its flags and its array, and that of the others its head, its tail, them and its flags.
"""

TIMEOUT_ARGUMENT = struct.Struct("=16xQ")
"""io_uring_getevents_arg, of which only the address of a timespec is used."""

TIMESPEC = struct.Struct("=qq")

PBUF_RING = struct.Struct("=QI28x")
"""io_uring_buf_reg, of the group 0."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

_ENTER = (
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_size_t,
)

_enter: Any = ctypes.CFUNCTYPE(*_ENTER, use_errno=True)(("syscall", _libc))


def address_of(memory: Any) -> int:
    """Where writable memory begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Ring:
    """One ring, of the thread that makes it, which is the reactor's: the kernel takes entries from
    no other (EEXIST).

    :param flags: beside those it cannot do without.
    :raise OSError: where the kernel, or who watches over this process, has none to give.
    """

    def __init__(self, entries: int = ENTRIES, flags: int = SETUP_NO_SQARRAY) -> None:
        params = bytearray(ASKED.pack(entries, SETUP | flags))
        try:
            self.fd = _call(SYS_SETUP, entries, address_of(params))
        except OSError as e:
            if e.errno == errno.ENOMEM:
                raise OSError(e.errno, f"{e.strerror}: see RLIMIT_MEMLOCK") from None
            if e.errno != errno.EINVAL or not flags:
                raise
            flags = 0
            params = bytearray(ASKED.pack(entries, SETUP))
            self.fd = _call(SYS_SETUP, entries, address_of(params))
        self.entries, self.room, *places = TOLD.unpack(params)
        sq_tail, sq_flags, sq_array, cq_head, cq_tail, cqes, cq_flags = places
        end = cqes + self.room * COMPLETION_SIZE
        size = end if flags else max(end, sq_array + self.entries * WORD)
        try:
            self._queues = mmap.mmap(self.fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
            self._entries = mmap.mmap(
                self.fd,
                self.entries * ENTRY_SIZE,
                flags=mmap.MAP_SHARED | mmap.MAP_POPULATE,
                offset=OFF_SQES,
            )
        except OSError:
            os.close(self.fd)
            raise
        self.sqes = memoryview(self._entries)
        self.cqes = memoryview(self._queues)[cqes:end]
        self.words = memoryview(self._queues).cast("I")
        """The queues as numbers of 32 bits; below, where in it stands what."""
        self.sq_tail, self.sq_flags, self.cq_head, self.cq_tail, self.cq_flags = (
            place // WORD for place in (sq_tail, sq_flags, cq_head, cq_tail, cq_flags)
        )
        self.tail, self._submitted, self.limit = 0, 0, self.entries
        """Of entries: how many there were so far, how many of them the kernel has taken, and how
        many there may be before it takes more.
        """
        if not flags:
            for entry in range(self.entries):
                self.words[sq_array // WORD + entry] = entry
        self._timespec = bytearray(TIMESPEC.size)
        self._timeout = bytearray(TIMEOUT_ARGUMENT.pack(address_of(self._timespec)))
        self._timeout_address = address_of(self._timeout)
        self.pack, self.unpack = ENTRY.pack_into, ENTRY.unpack_from

    def put(
        self, what: int, fd: int, offset: int, place: int, length: int, flags: int, known: int
    ) -> None:
        """One more entry of the submission queue: the fields of io_uring_sqe in their order.

        :param what: operation, flags and ioprio: 8, 8 and 16 bits, the lowest first.
        """
        if self.tail == self.limit:
            self.submit()
        at = (self.tail & (self.entries - 1)) << 6
        self.pack(self.sqes, at, what, fd, offset, place, length, flags, known)
        self.tail += 1

    def submit(self) -> None:
        """Hand over all entries; what can be done at once is done when this returns, and what it
        completed is in the queue.
        """
        while self.tail != self._submitted:
            self._enter()

    def exchange(self) -> None:
        """Hand over all entries, and let completions come."""
        self._enter(ENTER_GETEVENTS)
        if self.tail != self._submitted:
            self.submit()

    def wait(self, seconds: float) -> None:
        """The same, and wait for the first completion, so long at most."""
        fraction, whole = modf(seconds)
        TIMESPEC.pack_into(self._timespec, 0, int(whole), int(fraction * 1e9))
        flags = ENTER_GETEVENTS | ENTER_EXT_ARG
        self._enter(flags, 1, self._timeout_address, TIMEOUT_ARGUMENT.size)
        if self.tail != self._submitted:
            self.submit()

    def work_off(self) -> None:
        """Let the kernel do all that it has to, where other calls end after some twenty things, of
        which there may be nothing to tell: it does as many as were to be waited for.
        """
        TIMESPEC.pack_into(self._timespec, 0, 0, 0)
        flags = ENTER_GETEVENTS | ENTER_EXT_ARG
        self._enter(flags, self.room, self._timeout_address, TIMEOUT_ARGUMENT.size)
        if self.tail != self._submitted:
            self.submit()

    def _enter(
        self, flags: int = 0, least: int = 0, argument: int | None = None, size: int = 0
    ) -> None:
        self.words[self.sq_tail] = self.tail & 0xFFFFFFFF
        taken = _enter(
            SYS_ENTER, self.fd, self.tail - self._submitted, least, flags, argument, size
        )
        if taken >= 0:
            self._submitted += taken
            self.limit = self._submitted + self.entries
        elif (error := ctypes.get_errno()) == LOST:
            log.critical(
                "io_uring has lost events, for the kernel had no memory: some connections will"
                " hang until their timeouts"
            )
        elif error not in AGAIN:
            raise OSError(error, os.strerror(error))

    def register(self, what: int, argument: Any, count: int) -> None:
        """io_uring_register(2).

        :raise OSError: where the kernel does not take it.
        """
        _call(SYS_REGISTER, self.fd, what, address_of(argument), count)

    def close(self) -> None:
        """Give it back; what is under way ends some time after this."""
        self.sqes.release()
        self.cqes.release()
        self.words.release()
        self._entries.close()
        self._queues.close()
        os.close(self.fd)


def _call(number: int, *arguments: int) -> int:
    """A system call whose arguments are numbers and addresses."""
    result: int = _syscall(number, *(ctypes.c_ulong(each) for each in arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
