"""The running process starts another one, which takes over from it or fails."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tcpmesh.server.restart import upgrade
from tcpmesh.server.restart.beginning import Beginning, begin
from tcpmesh.server.restart.rendezvous import connect, restart_address
from tcpmesh.server.restart.restart import MOST_SUCCESSORS
from tcpmesh.server.restart.started import VARIABLE, Started, started_by
from tcpmesh.server.restart.upgrade import Program, Upgrade
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tests.server.restart.row import FakeProcess, RowTestCase

PID = 1 << 22
"""That no process can have."""


class FakeChild:
    """A process that was started."""

    pid = PID

    def __init__(self, protocol: Any, arguments: tuple[Any, ...], fds: dict[int, int]) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.killed: list[str] = []
        (fd,) = fds.keys() - {0, 1, 2}
        self.fd = os.dup(fd)

    def signalProcess(self, name: str) -> None:
        """It is killed."""
        self.killed.append(name)
        self.ends(ProcessTerminated(signal=9))

    def ends(self, how: Exception) -> None:
        """It ends."""
        self.close()
        self.protocol.processEnded(Failure(how))

    def close(self) -> None:
        """Its end of the connection is closed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class UpgradeTests(RowTestCase):
    """`Upgrade`."""

    def setUp(self) -> None:
        """A reactor that starts processes."""
        super().setUp()
        self.children: list[FakeChild] = []
        self.program = Program("/bin/sh", ("sh", "-x"), "/somewhere")
        self.environ = {"A": "b", "WATCHDOG_PID": "1", "LISTEN_FDS": "2"}

    def spawnProcess(
        self,
        protocol: Any,
        *arguments: Any,
        childFDs: dict[int, int],
    ) -> FakeChild:
        """The reactor's."""
        self.children.append(FakeChild(protocol, arguments, childFDs))
        self.addCleanup(self.children[-1].close)
        return self.children[-1]

    def upgrade(self) -> Deferred[int]:
        """Begin."""
        return Upgrade(self.first, self, self.clock, self.program).begin(self.environ)

    def begins(self, child: FakeChild) -> Beginning:
        """The new process begins."""
        started = started_by(dict(child.arguments[2]))
        assert started is not None
        fd = os.dup(child.fd)
        child.close()
        found: list[Beginning | Exception] = []
        self.beside(lambda: found.append(begin(self.options(), started._replace(fd=fd), -1)), found)
        assert isinstance(found[0], Beginning)
        return found[0]

    def assert_failed(self, done: Deferred[int], says: str) -> None:
        """It has not come to that, and the log has one line about it."""
        self.clock.settle()
        failure = self.failureResultOf(done, CannotTakeOver)
        self.assertIn(says, str(failure.value))
        lines = [each for each in self.told.lines if "serves on" in each]
        self.assertEqual(
            [f"the upgrade has failed, and this process serves on: {failure.value}"], lines
        )
        self.assertEqual([], self.old.handed)
        self.told.lines.clear()

    def test_started(self) -> None:
        """What is started is the same program, where this one was, in the same environment but for
        what is true of this process alone.
        """
        self.upgrade()
        (child,) = self.children
        executable, arguments, environ, directory = child.arguments
        self.assertEqual(self.program, Program(executable, arguments, directory))
        started = started_by(environ)
        assert started is not None
        self.assertEqual((1, 0), (started.epoch, started.base_id))
        self.assertEqual({"A": "b"}, environ)
        child.close()

    def test_takes_over(self) -> None:
        """It takes over, whatever becomes of the process that was started: twistd detaches it."""
        done = self.upgrade()
        (child,) = self.children
        second = self.restart(FakeProcess(), self.begins(child))
        child.protocol.processEnded(Failure(ProcessDone(0)))
        second.serve(30)
        self.clock.settle()
        self.assertEqual(os.getpid(), self.successResultOf(done))
        self.assertEqual([], child.killed)
        self.clock.advance(1000)
        self.assertEqual([(os.getpid(), 30)], self.old.handed)

    def test_those_before_go_on(self) -> None:
        """Processes before this one go on serving their clients."""
        new = FakeProcess()
        second = self.restart(new, self.begun(restart_epoch=1))
        second.serve(30)
        self.clock.settle()
        done = Upgrade(second, self, self.clock, self.program).begin(self.environ)
        third = self.restart(FakeProcess(), self.begins(self.children[0]))
        third.serve(30)
        self.clock.settle()
        self.successResultOf(done)
        self.assertNotIn("quit", self.old.done)
        self.assertEqual(1, second.left_before)

    def test_says_why(self) -> None:
        """What it says of its failure is the reason, whether it or its process's end comes
        first.
        """

        def tell(child: FakeChild) -> None:
            Started(child.fd, 1, 0).tell_failure("no such file")

        def tell_and_end(child: FakeChild) -> None:
            tell(child)
            child.ends(ProcessTerminated(1))

        def tell_and_close(child: FakeChild) -> None:
            tell(child)
            child.close()
            self.clock.settle()
            child.ends(ProcessTerminated(1))

        acts: list[Callable[[FakeChild], None]] = [tell_and_end, tell_and_close]
        for act in acts:
            done = self.upgrade()
            act(self.children.pop())
            self.assert_failed(done, "no such file")

    def test_says_nothing(self) -> None:
        """Else it is how its process has ended."""
        for how, says in (
            (ProcessTerminated(3), "it has ended with status 3 before it served"),
            (ProcessTerminated(signal=11), "it was killed by signal 11"),
            (ProcessDone(0), "it has ended"),
        ):
            done = self.upgrade()
            child = self.children.pop()
            child.ends(how)
            self.clock.settle()
            self.clock.advance(upgrade.END_TIME)
            self.assert_failed(done, says)

    def test_hangs(self) -> None:
        """One that does not come to serve is killed when its time is over."""
        done = self.upgrade()
        self.clock.advance(upgrade.START_TIME - 1)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertEqual(["KILL"], self.children[0].killed)
        self.assert_failed(done, "it does not serve after 120 s")

    def test_two_at_once(self) -> None:
        """There is one upgrade at a time."""
        self.upgrade()
        self.begins(self.children[0])
        other = self.upgrade()
        self.assert_failed(other, "is about to take over")
        self.assertEqual([], self.children[0].killed)

    def test_cannot_be_started(self) -> None:
        """A program that is not there any more is the reason."""
        self.program = self.program._replace(executable="/no/such/python")
        self.assert_failed(self.upgrade(), "cannot start /no/such/python: No such file")

    def test_not_now(self) -> None:
        """The process may have a reason of its own."""
        self.old.reason = "it ends"
        self.assert_failed(self.upgrade(), "it ends")
        self.assertEqual([], self.children)

    def test_end(self) -> None:
        """Where this process is told to end, nothing takes over, and the log does not say that it
        serves on.
        """
        attempt = Upgrade(self.first, self, self.clock, self.program)
        done = attempt.begin(self.environ)
        attempt.cancel()
        self.assertEqual(["KILL"], self.children[0].killed)
        self.failureResultOf(done, CannotTakeOver)
        self.assertEqual("the upgrade is given up: this process ends", self.told.lines[-1])
        attempt.cancel()
        self.clock.settle()
        self.assertEqual([], self.old.handed)

    def test_no_descriptor(self) -> None:
        """A lack of descriptors is the reason."""

        def refuse(*arguments: object) -> Any:
            raise OSError(24, os.strerror(24))

        self.patch(socket, "socketpair", refuse)
        self.assert_failed(self.upgrade(), "Too many open files")

    def test_strangers(self) -> None:
        """However many others have come to the restart socket and said nothing, it is started."""
        for _ in range(MOST_SUCCESSORS):
            stranger = connect(restart_address(self.path, 0), 1.0, -1)
            self.addCleanup(stranger.close)
            self.clock.settle()
        done = self.upgrade()
        second = self.restart(FakeProcess(), self.begins(self.children[0]))
        second.serve(30)
        self.clock.settle()
        self.successResultOf(done)

    def test_variable(self) -> None:
        """A process that was started so does not tell those that it starts."""
        self.upgrade()
        self.assertIn(VARIABLE, self.children[0].arguments[2])
