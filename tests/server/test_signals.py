"""What signals do to a running proxy."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.signals import install_signals

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP)


class QueueReactor:
    """Keeps what is to run in the reactor's thread until a test runs it."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callFromThread(self, call: Callable[[], object]) -> None:
        """Keep the call."""
        self.calls.append(call)

    def run(self) -> None:
        """Run what was kept."""
        while self.calls:
            self.calls.pop(0)()


class SignalsTests(SynchronousTestCase):
    """Signals sent to this process, whose own ways are put back afterwards."""

    def setUp(self) -> None:
        """Take the signals over."""
        for number in NUMBERS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.reactor = QueueReactor()
        self.done: list[str] = []
        install_signals(
            self.reactor,
            lambda: self.done.append("end"),
            lambda: self.done.append("finish"),
            lambda: self.done.append("reopen"),
            lambda: self.done.append("reload"),
            lambda: self.done.append("upgrade"),
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process; Python handles it before the next step."""
        os.kill(os.getpid(), number)

    def test_end(self) -> None:
        """SIGTERM and SIGINT end the process, in the reactor's thread and not from within the
        signal.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self.send(number)
            self.assertEqual([], self.done)
            self.reactor.run()
            self.assertEqual(["end"], self.done)
            self.done.clear()

    def test_finish(self) -> None:
        """SIGQUIT ends it once its clients have left."""
        self.send(signal.SIGQUIT)
        self.reactor.run()
        self.assertEqual(["finish"], self.done)

    def test_reopen(self) -> None:
        """SIGUSR1 opens log files anew."""
        self.send(signal.SIGUSR1)
        self.reactor.run()
        self.assertEqual(["reopen"], self.done)

    def test_hangup(self) -> None:
        """SIGHUP has the configuration read again."""
        self.send(signal.SIGHUP)
        self.reactor.run()
        self.assertEqual(["reload"], self.done)

    def test_not_in_the_main_thread(self) -> None:
        """Embedded in another thread, signals are left alone and nothing fails."""
        before = [signal.getsignal(number) for number in NUMBERS]
        failures: list[Any] = []

        def install() -> None:
            try:
                install_signals(self.reactor, list, list, list, list, list)
            except BaseException as e:
                failures.append(e)

        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
        self.assertEqual([], failures)
        self.assertEqual(before, [signal.getsignal(number) for number in NUMBERS])
