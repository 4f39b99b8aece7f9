"""Tells the service manager how far the process is: systemd, or whoever else sets NOTIFY_SOCKET.

Each message is one datagram with a line for each variable, as sd_notify(3) has it.  Nobody waits
for the other side, and a message that it does not take is no reason to serve less.  Where
WATCHDOG_USEC is set a message follows twice in that time, as long as the loop turns: a process that
hangs is then ended by systemd, and started again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger(namespace="main")


class Notifier:
    """The service manager of this process; without one, nobody.

    :param environ: the environment that the process was started with.
    """

    def __init__(self, environ: Mapping[str, str], clock: IReactorTime) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        self._interval = _watchdog_interval(environ) if self._path else 0.0
        self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
        self._watchdog.clock = clock
        self._has_failed = False

    def ready(self, status: str) -> None:
        """The configuration is served, for the first time or once more."""
        self._send("READY=1", f"STATUS={status}")
        if self._interval and not self._watchdog.running:
            self._watchdog.start(self._interval)

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows, also where it was refused."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The process ends now.  One that waits for its clients does not say so: systemd would cut
        it off after TimeoutStopSec.
        """
        self._send("STOPPING=1", f"STATUS={status}")

    def hand_over(self, pid: int) -> None:
        """Another process is the main one from now on, and tells how far it is."""
        self._send(f"MAINPID={pid}")
        self.close()
        self._path = ""

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def close(self) -> None:
        """The loop turns no more."""
        if self._watchdog.running:
            self._watchdog.stop()

    def _send(self, *variables: str) -> None:
        if not self._path:
            return
        path = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        lines = [variable.replace("\n", " ") for variable in variables]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), path)
        except OSError as e:
            if not self._has_failed:
                self._has_failed = True
                log.warn(
                    "cannot tell the service manager at {path} (NOTIFY_SOCKET): {reason}",
                    path=self._path,
                    reason=e.strerror or e,
                )


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between two signs of life; 0 where nobody waits for any."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(microseconds) / 2_000_000
