"""Writing lines without ever waiting."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs import output as module
from tcpmesh.logs.output import Output


class PipeTests(SynchronousTestCase):
    """A pipe whose reader may be slow, or gone."""

    def setUp(self) -> None:
        """A small pipe, whose ends block."""
        self.reader, self.writer = os.pipe()
        self.addCleanup(self.close, self.reader)
        self.addCleanup(self.close, self.writer)
        self.size = fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 8192)
        self.output = Output(self.writer)

    def close(self, fd: int) -> None:
        """Close what the test has not closed."""
        try:
            os.close(fd)
        except OSError as e:
            self.assertEqual(errno.EBADF, e.errno)

    def read(self) -> bytes:
        """All that is in the pipe."""
        return os.read(self.reader, 1 << 20)

    def test_written(self) -> None:
        """A line is in the pipe at once, and the pipe is left as it was: one that blocks."""
        self.output.write(b"one\n")
        self.output.write(b"two\n")
        self.assertEqual(b"one\ntwo\n", self.read())
        self.assertTrue(os.get_blocking(self.writer))

    def test_slow_reader(self) -> None:
        """What a full pipe does not take is kept, and is written in order once it is read."""
        lines = [b"%03d" % number + b"x" * 1000 + b"\n" for number in range(30)]
        for line in lines:
            self.output.write(line)
        self.assertTrue(self.output.is_behind)
        got = b""
        while self.output.is_behind:
            got += self.read()
            self.output.flush()
        got += self.read()
        self.assertEqual(b"".join(lines), got)
        self.assertEqual(0, self.output.lost)

    def test_long_line(self) -> None:
        """A line that is longer than the pipe is written in pieces."""
        line = b"y" * 3 * self.size + b"\n"
        self.output.write(line)
        got = b""
        while self.output.is_behind:
            got += self.read()
            self.output.flush()
        self.assertEqual(line, got + self.read())

    def test_reader_that_never_reads(self) -> None:
        """So much is kept and no more: lines beyond it are counted, and none is cut."""
        self.patch(module, "MOST_KEPT", 20_000)
        line = b"z" * 999 + b"\n"
        for _ in range(100):
            self.output.write(line)
        got = b""
        while self.output.is_behind:
            got += self.read()
            self.output.flush()
        got += self.read()
        self.assertEqual(100, got.count(line) + self.output.lost)
        self.assertEqual(len(got), got.count(line) * len(line))

    def test_bound(self) -> None:
        """As many bytes are kept as may be, to the last one."""
        self.patch(module, "MOST_KEPT", 5000)
        self.output.write(b"y" * self.size)
        for lost in (0, 0, 0, 0, 0, 1, 2):
            self.output.write(b"z" * 1000)
            self.assertEqual(lost, self.output.lost)

    def test_waited_for(self) -> None:
        """At the end a reader that is slow is waited for."""
        line = b"y" * 5 * self.size
        self.output.write(line)
        got: list[bytes] = []

        def read() -> None:
            while sum(map(len, got)) < len(line):
                got.append(self.read())

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self.output.close(patience=30)
        self.assertFalse(self.output.is_behind)
        thread.join(30)
        self.assertEqual(line, b"".join(got))

    def test_reader_gone(self) -> None:
        """Where nobody will ever read, lines are lost at once and not kept."""
        os.close(self.reader)
        self.output.write(b"one\n")
        self.assertEqual((1, False), (self.output.lost, self.output.is_behind))

    def test_last(self) -> None:
        """At the end what waits is written where it is taken by then, without any patience."""
        self.output.write(b"y" * self.size)
        self.output.write(b"last\n")
        self.assertTrue(self.output.is_behind)
        got = self.read()
        self.output.close()
        self.assertFalse(self.output.is_behind)
        self.assertEqual(b"y" * self.size + b"last\n", got + self.read())

    def test_patience(self) -> None:
        """At the end a reader that does not read is not waited for longer than is said."""
        while not self.output.is_behind:
            self.output.write(b"x" * 1000)
        self.output.close(patience=0.01)
        self.assertTrue(self.output.is_behind)

    def test_nonblocking(self) -> None:
        """A pipe that somebody has made non-blocking is no different."""
        os.set_blocking(self.writer, False)
        for _ in range(30):
            self.output.write(b"x" * 999 + b"\n")
        self.assertTrue(self.output.is_behind)
        self.assertEqual(0, self.output.lost)


class TerminalTests(SynchronousTestCase):
    """A terminal, as standard error often is one."""

    def test_nobody_reads(self) -> None:
        """What it does not take is kept, though it would wait within a line; and it stays one that
        waits for all others who have it.
        """
        master, terminal = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, terminal)
        output = Output.of(terminal)
        self.addCleanup(output.close)
        lines = [b"%03d" % number + b"x" * 1500 + b"\n" for number in range(200)]
        for line in lines:
            output.write(line)
        self.assertTrue(output.is_behind)
        self.assertTrue(os.get_blocking(terminal))
        got = b""
        while output.is_behind or select.select([master], [], [], 0.1)[0]:
            got += os.read(master, 65536)
            output.flush()
        self.assertEqual(b"".join(lines), got.replace(b"\r\n", b"\n"))

    def test_no_descriptor(self) -> None:
        """What is no descriptor is an error."""
        self.assertRaises(OSError, Output.of, 1 << 20)


class FileTests(SynchronousTestCase):
    """Files."""

    def path(self, name: str) -> str:
        """The path of a file in a folder of its own."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return str(folder / name)

    def test_appended(self) -> None:
        """A file is made where there is none, and what it has already stays."""
        path = self.path("log")
        for line in (b"one\n", b"two\n"):
            output = Output.open(path)
            output.write(line)
            output.close()
        self.assertEqual("one\ntwo\n", Path(path).read_text())

    def test_full_disk(self) -> None:
        """Lines for which there is no room are counted, and the next one is tried anew."""
        output = Output.open("/dev/full")
        self.addCleanup(output.close)
        output.write(b"one\n")
        output.write(b"two\n")
        self.assertEqual((2, False), (output.lost, output.is_behind))

    def test_torn(self) -> None:
        """After a line of which only a part could be written the next one begins anew."""
        path = self.path("log")
        output = Output.open(path)
        self.addCleanup(output.close)
        write, room = os.write, [3]

        def limited(fd: int, data: bytes) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, "no space left on device")
            count = write(fd, data[: room[0]])
            room[0] -= count
            return count

        self.patch(os, "write", limited)
        output.write(b"first\n")
        output.write(b"second\n")
        room[0] = 100
        output.write(b"third\n")
        output.write(b"fourth\n")
        self.assertEqual("fir\nthird\nfourth\n", Path(path).read_text())
        self.assertEqual((2, False), (output.lost, output.is_behind))

    def test_pipe_without_a_reader(self) -> None:
        """A named pipe that nobody reads is an error, where opening it would wait for ever."""
        path = self.path("pipe")
        os.mkfifo(path)
        self.assertRaises(OSError, Output.open, path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        output = Output.open(path)
        self.addCleanup(output.close)
        output.write(b"one\n")
        self.assertEqual(b"one\n", os.read(reader, 100))

    def test_standard_streams(self) -> None:
        """/dev/stdout and /dev/stderr are what the process has as such, also where that is a
        socket, which cannot be opened by its name.
        """
        for path, fd in (("/dev/stdout", 1), ("/dev/stderr", 2)):
            output = Output.open(path)
            self.addCleanup(output.close)
            self.assertTrue(os.path.sameopenfile(fd, output.fd))
            self.assertNotEqual(fd, output.fd)

    def test_closed(self) -> None:
        """A descriptor that somebody has closed loses lines and raises nothing."""
        output = Output.open(self.path("log"))
        output.close()
        output.write(b"one\n")
        self.assertEqual(1, output.lost)

    def test_pieces(self) -> None:
        """What is asked for at a time is what a pipe takes whole."""
        self.assertGreaterEqual(select.PIPE_BUF, 512)
