"""What signals mean, as for Envoy: SIGTERM and SIGINT end the process with status 0, SIGUSR1 opens
log files anew.  As for nginx, SIGQUIT ends it once its clients have left, SIGHUP has it read its
configuration again, where Envoy does nothing, and SIGUSR2 starts the program that is installed now,
which takes over; in Envoy that is what its watchdog sends.

Twisted would end with the signal's own status, which a supervisor takes for a crash.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

log = Logger(namespace="main")


def install_signals(
    reactor: Any,
    end: Callable[[], object],
    finish: Callable[[], object],
    reopen: Callable[[], object],
    reload: Callable[[], object],
    upgrade: Callable[[], object],
) -> None:
    """Take the signals over from the reactor, which is running by now."""

    def caught(act: Callable[[], object], text: str) -> Callable[[int, Any], None]:
        def handler(number: int, frame: Any) -> None:
            def run() -> None:
                log.warn(text, name=signal.Signals(number).name)
                act()

            reactor.callFromThread(run)

        return handler

    try:
        signal.signal(signal.SIGTERM, caught(end, "caught {name}: ending"))
        signal.signal(signal.SIGINT, caught(end, "caught {name}: ending"))
        signal.signal(signal.SIGQUIT, caught(finish, "caught {name}: ending with the last client"))
        signal.signal(signal.SIGUSR1, caught(reopen, "caught {name}: opening log files anew"))
        text = "caught {name}: reading the configuration again"
        signal.signal(signal.SIGHUP, caught(reload, text))
        text = "caught {name}: starting the program that is installed now"
        signal.signal(signal.SIGUSR2, caught(upgrade, text))
    except ValueError:
        log.warn("signals are left alone: this is not the main thread")
