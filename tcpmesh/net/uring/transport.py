"""The transport of the io_uring network.

Theory of operation.  It is an `EpollTransport` that has its bytes brought: the kernel receives into
a buffer, and the poller delivers them (`received`), or sends them on at once where nobody wants to
see them.  All that is not plain receiving is as there: writing, half-close, close, reset.

A pause cancels what is under way; what arrives until that is so is kept, and delivered before all
else on resume.  So are the end and a reset.

Bulk it reads by itself, as an `EpollTransport` does, or has it moved by a pump
(`tcpmesh.net.epoll.splice`): meanwhile nothing is received.  When all was read it goes back to
receiving, but for a pump: that stays, and the next bytes are awaited, once for each time that there
were none.  (A descriptor that is watched all the time tells of every segment that comes while the
pump waits for its sink: three rounds more for each that is of use.)
"""

from __future__ import annotations

import errno
from select import EPOLLIN, EPOLLPRI, EPOLLRDHUP
from socket import AF_UNIX
from typing import Any

from tcpmesh.net.epoll.pushback import PushbackBuffer
from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.epoll.splice import Pump
from tcpmesh.net.epoll.transport import READS, EpollTransport
from tcpmesh.net.epoll.writing import LOSE, LOST
from tcpmesh.net.sockets import is_at_urgent

MOST_ROUNDS = 2
"""Full buffers are in a row where no more rounds than these lie between one and the next."""

GOES_ON = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))
"""Results that say nothing of the peer."""


class UringTransport(EpollTransport):
    """A connected socket whose bytes the ring receives."""

    __slots__ = (
        "_awaits",
        "_awaits_room",
        "_ending",
        "_filled",
        "_filled_in",
        "_is_cancelled",
        "_is_receiving",
        "_most",
        "_reads",
    )

    _poller: Any

    def __init__(
        self, network: EpollResources, fd: int, family: int, peer: Any, registered: bool
    ) -> None:
        super().__init__(network, fd, family, peer, False)
        # It may be sent to before it has asked for anything itself.
        self._poller.replace(fd, self)
        self._is_receiving = self._is_cancelled = False
        self._awaits = self._awaits_room = False
        self._reads = False
        """Whether it reads by itself."""
        self._filled = self._filled_in = 0
        """Bytes of full buffers in a row, and the round of the last of them."""
        self._most = self._poller.size if family == AF_UNIX else 0
        """Bytes to ask for at once, and then no more before these were delivered; 0 where it need
        not be known how many come.
        """
        self._ending: int | None = None
        """How receiving ended while the protocol wanted a pause."""

    def _set_read_size(self, size: int) -> None:
        super()._set_read_size(size)
        size, most, before = self.read_size, self._poller.size, self._most
        self._most = min(size, most) if size < most or self._family == AF_UNIX else 0
        if self._is_receiving and self._most != before:
            self._cancel()

    # What the poller delivers

    def received(self, data: memoryview) -> None:
        """Bytes came; they are the caller's again after this call."""
        if len(data) == self._poller.size:
            self.filled()
        if self._paused or self._pump is not None:
            self._keep(data)
            return
        while True:
            size = self.read_size
            self._receive(data[:size])
            data = data[size:]
            if not data:
                return
            if self.fd < 0:
                return
            if self._paused or self._pump is not None:
                self._keep(data)
                return

    def _keep(self, data: memoryview) -> None:
        """For later: behind what was kept or given back before."""
        if isinstance(self._pump, PushbackBuffer):
            self._pump.data += data
        else:
            self._pump = PushbackBuffer(data)
            self._readable = True

    def receive_ended(self, result: int) -> None:
        """Nothing more will be received: the peer has ended or reset, or it was cancelled, or the
        kernel wants to be asked anew.
        """
        self._is_receiving = self._is_cancelled = False
        if result > 0 or result in GOES_ON:
            if self._is_bulk:
                self._read_bulk()
            elif not self._paused:
                self._read_on()
        elif self._paused or self._pump is not None:
            self._ending = result
            self._readable = True
        else:
            self._end(result)

    def _end(self, result: int) -> None:
        self._ending = None
        if result < 0:
            self._close(LOST)
            self._report_lost()
        else:
            self._end_of_stream()
            if self.fd >= 0:
                self._poller.watch_ended(self)

    def filled(self) -> None:
        """A whole buffer was received."""
        turn, size = self._poller.turn, self._poller.size
        self._filled = size + (self._filled if turn - self._filled_in <= MOST_ROUNDS else 0)
        self._filled_in = turn
        if self._is_bulk:
            self._cancel()

    @property
    def _is_bulk(self) -> bool:
        """Whether as many bytes came as an `EpollTransport` reads before it takes a pump."""
        return self._filled >= READS * len(self._network.iov[0])

    def send_failed(self, left: memoryview, is_broken: bool) -> None:
        """Of what the poller sent this was not taken."""
        if is_broken:
            self.dropped += len(left)
            self._write_failed()
        else:
            self._out = bytearray(left)
            self._pushed_back()

    # Reading

    def _read_on(self) -> None:
        if self._readable and (self._reads or self._pump is not None or self._ending is not None):
            self._poller.again(self)
        elif self.fd < 0 or self._is_receiving or self._ending is not None:
            return
        elif self._eof:
            self.watch_for_reset()
        elif isinstance(self._pump, Pump):
            if not self._awaits:
                self._awaits = True
                self._poller.await_ready(self.fd, self, EPOLLIN | EPOLLRDHUP)
        else:
            self._reads = False
            self._is_receiving = True
            self._poller.receive(self.fd, self, self._most)

    def has_become_ready(self, mask: int) -> None:
        """What was awaited is there; nobody awaits it where the connection is leaving."""
        if self._awaits or self._registered:
            self._awaits = False
            self.ready(mask)

    def receive_anew(self) -> None:
        """There is an end that the kernel may have missed."""
        if self._is_receiving:
            self._cancel()

    def _cancel(self) -> None:
        if self._is_receiving and not self._is_cancelled and self.fd >= 0:
            self._is_cancelled = True
            self._poller.cancel_receive(self.fd)

    def pauseProducing(self) -> None:
        """Read no more until resumed."""
        if self._after < LOSE:
            self._paused = True
            if self._is_receiving:
                self._cancel()

    def ready(self, mask: int) -> None:
        """There is something to read, or a reset."""
        super().ready(mask)
        if self._reads and not (self._readable or self._paused):
            self._read_on()

    def has_room(self, mask: int) -> None:
        """The descriptor takes bytes again, or has failed."""
        if self._awaits_room:
            self._awaits_room = False
            if self._out:
                self._flush()
            if self._out:
                self._await_room()

    def ready_again(self) -> None:
        """What was put off: report the end, go on reading, or ask a pull producer for more."""
        if self._reason is not None:
            self._report_lost()
            return
        if self._reads:
            super().ready_again()
            return
        if not self._paused and self.fd >= 0:
            if isinstance(self._pump, PushbackBuffer):
                self._deliver_again(self._pump)
            elif self._ending is not None:
                self._end(self._ending)
            else:
                self._readable = False
                self._read_on()
        if self._producer is not None and not self._streaming and not self._out:
            self._pull()

    def _await_room(self) -> None:
        if not self._awaits_room and self.fd >= 0:
            self._awaits_room = True
            self._poller.await_room(self.fd, self)

    def watch_for_reset(self) -> None:
        """Some time after the end of what the peer sends."""
        if self.fd >= 0 and not self._registered:
            self._registered = True
            self._poller.watch_for_reset(self.fd, self)

    def _read_bulk(self) -> None:
        self._filled = 0
        self._reads = self._readable = True
        if self._pump is None and not self._paused:
            self._start_pump()
            self._poller.again(self)

    def _ends_here(self) -> bool:
        # Where the ring tells of an end it does not tell of urgent data before it.
        return False

    def _pump_stalls(self, pump: Pump) -> None:
        # To wait for urgent bytes is no use: what wakes the ring by bytes tells of such, too,
        # whether there are any or not.
        if is_at_urgent(self.fd):
            self._hangup |= EPOLLPRI
        super()._pump_stalls(pump)

    # Moving to another network

    @property
    def was_reset(self) -> bool:
        """Whether a reset waits to be told, which nobody else would hear of any more."""
        return self._ending is not None and self._ending < 0

    def _detach(self) -> None:
        self._paused, self._registered = True, False
        self._awaits = self._awaits_room = False
        self._poller.settle(self.fd)
        self._poller.unregister(self.fd)
