"""How a process begins: as the first one, or from another."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from tcpmesh.server.processes.framing import pieces_of
from tcpmesh.server.restart import beginning
from tcpmesh.server.restart.beginning import begin
from tcpmesh.server.restart.messages import encode
from tcpmesh.server.restart.started import VARIABLE, Started, started_by
from tcpmesh.values.lifecycle.restart import ALONE, CannotTakeOver
from tests.server.processes.watched import open_descriptors
from tests.server.restart.row import RowTestCase


class FirstTests(RowTestCase):
    """Nobody was there before."""

    def test_lock(self) -> None:
        """A second one by accident is refused in one line, which says what to do; another base id
        is another matter.
        """
        error = str(self.assertRaises(CannotTakeOver, begin, self.options(), None, -1))
        self.assertEqual(1, len(error.splitlines()))
        self.assertIn(f"cannot bind '{self.path}_0'", error)
        self.assertIn("--use-dynamic-base-id", error)
        other = begin(self.options(base_id=1), None, -1)
        assert other.restart_socket is not None
        other.restart_socket.close()

    def test_disabled(self) -> None:
        """With --disable-hot-restart there is no lock."""
        begun = begin(self.options(disable_hot_restart=True), None, -1)
        self.assertEqual((ALONE, None), (begun.facts, begun.restart_socket))

    def test_dynamic(self) -> None:
        """A base id that nobody has is taken, and written where --base-id-path says."""
        path = self.mktemp()
        options = self.options(use_dynamic_base_id=True, base_id_path=path)
        begun = [begin(options, None, -1) for _ in range(2)]
        for each in begun:
            assert each.restart_socket is not None
            self.addCleanup(each.restart_socket.close)
        ids = [each.facts.base_id for each in begun]
        self.assertEqual(2, len(set(ids)))
        self.assertEqual(str(ids[1]), Path(path).read_text())

    def test_base_id_path(self) -> None:
        """A base id that cannot be written is a refusal."""
        options = self.options(base_id=5, base_id_path="/no/such/folder/id")
        error = self.assertRaises(CannotTakeOver, begin, options, None, -1)
        self.assertIn("cannot write the base id to '/no/such/folder/id'", str(error))

    def test_path(self) -> None:
        """The place may be a path, with its mode; one that was left behind is taken."""
        path = os.path.abspath(self.mktemp())
        for mode in (0o600, 0o660):
            begun = begin(self.options(socket_path=path, socket_mode=mode), None, -1)
            self.assertEqual(mode, stat.S_IMODE(os.stat(f"{path}_0").st_mode))
            assert begun.restart_socket is not None
            begun.restart_socket.close()


class NextTests(RowTestCase):
    """Another one should be there."""

    def test_nobody(self) -> None:
        """Without one it is refused, or is the first with --skip-hot-restart-on-no-parent."""
        alone = {"base_id": 9, "restart_epoch": 1}
        error = self.assertRaises(CannotTakeOver, self.begun, **alone)
        self.assertIn("there is no process with base id 9 to take over from", str(error))
        begun = self.begun(skip_hot_restart_on_no_parent=True, **alone)
        assert begun.restart_socket is not None
        begun.restart_socket.close()
        self.assertEqual((1, 1), (begun.facts.epoch, begun.facts.generation))

    def assert_refused(self, answer: bytes, says: str, *descriptors: int) -> None:
        """A process that answers so cannot be taken over from; no descriptor is left."""
        before = open_descriptors()
        ours, theirs = socket.socketpair()
        with ours:
            if descriptors:
                socket.send_fds(ours, [answer], list(descriptors))
            else:
                ours.sendall(answer)
            ours.shutdown(socket.SHUT_WR)
            started = Started(theirs.detach(), 1, 0)
            error = self.assertRaises(CannotTakeOver, begin, self.options(), started, -1)
        self.assertIn(says, str(error))
        self.assertEqual(before, open_descriptors())

    def frame(self, body: bytes, descriptors: int = 0) -> bytes:
        """The bytes of a message."""
        fds = [0] * descriptors
        return b"".join(piece.data for piece in pieces_of(body, fds))

    def test_wrong_answers(self) -> None:
        """Whatever the older one answers that is no answer is one line."""
        for answer, says in (
            (b"", "it has ended"),
            (b"\5\0\0", "it has ended"),
            (self.frame(b"hello"), "it is not JSON"),
            (self.frame(encode("sockets", sockets=3)), "sockets is no list of objects"),
            (self.frame(encode("sockets", sockets=[{}])), "1 sockets are announced and 0 came"),
            (self.frame(encode("refused", reason="later")), "serves on: later"),
            (self.frame(encode("sockets", generation="x")), "generation is no number"),
        ):
            self.assert_refused(answer, says)

    def test_wrong_descriptors(self) -> None:
        """A descriptor that is no listening socket is refused, and all that came are closed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        rows = [{"use": "listener", "name": "a"}, {"use": "later"}]
        body = encode("sockets", sockets=rows)
        says = "a descriptor cannot be used"
        self.assert_refused(self.frame(body, 2), says, reading, writing)

    def test_unknown_uses(self) -> None:
        """A socket of a use that is not known here is closed, and so is what comes with messages
        that are not.
        """
        out = self.listening("a")
        fd = out.sock.fileno()
        self.assert_refused(self.frame(encode("later"), 1), "it has ended", fd)

    def test_silence(self) -> None:
        """One that hangs is not waited for long."""
        self.patch(beginning, "PATIENCE", 0.05)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        started = Started(theirs.detach(), 1, 0)
        error = self.assertRaises(CannotTakeOver, begin, self.options(), started, -1)
        self.assertIn("does not answer within", str(error))


class StartedTests(RowTestCase):
    """A process that the running one has started."""

    def test_variable(self) -> None:
        """A variable of the environment says so, and is gone then; one that makes no sense says
        nothing.
        """
        environ = {VARIABLE: str(Started(5, 2, 3)), "A": "b"}
        self.assertEqual(Started(5, 2, 3), started_by(environ))
        self.assertEqual({"A": "b"}, environ)
        for text in ("", "5", "5:2:x", "5:2:3:4", "-1:2:3"):
            self.assertIs(None, started_by({VARIABLE: text}))

    def test_failure(self) -> None:
        """It can say why it fails, also to one that is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            started = Started(theirs.fileno(), 1, 0)
            with ours:
                started.tell_failure("no")
                self.assertIn(b'"reason": "no"', ours.recv(99))
            started.tell_failure("no")
