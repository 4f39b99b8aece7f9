"""The files of access logs: what is written, when, and that nothing waits for a file."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zope.interface.verify import verifyObject

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog import manager
from tcpmesh.accesslog.manager import AccessLogFile, AccessLogManager
from tcpmesh.accesslog.opening import open_for_records
from tcpmesh.accesslog.writer import encode
from tcpmesh.interfaces import IAccessLogFile, IAccessLogManager
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of

LIMIT = 10.0
"""Seconds after which a thread that has not done its work never will."""


class ManagerCase(SynchronousTestCase):
    """One manager, on a clock."""

    interval = 10.0
    size = 1
    """KiB."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Store()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = str(self.folder / "log")
        self.open: Callable[[str], int] = open_for_records
        self.manager = AccessLogManager(
            self.store,
            self.clock,
            int(self.interval * 1000),
            self.size,
            lambda path: self.open(path),
        )
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """End the manager, however long that takes."""
        stopped = self.manager.stop()
        self.until(lambda: stopped.called, advance=True)

    def until(self, true: Callable[[], Any], advance: bool = False) -> None:
        """Wait for what a thread does."""
        deadline = time.monotonic() + LIMIT
        while not true():
            self.assertLess(time.monotonic(), deadline, "it never came")
            time.sleep(0.001)
            if advance:
                self.clock.advance(0.01)

    def opened(self) -> AccessLogFile:
        """The file, with what only its manager sees of it."""
        file = self.manager.open(self.path)
        assert isinstance(file, AccessLogFile)
        return file

    def text(self, path: str = "") -> str:
        """What is in the file."""
        return Path(path or self.path).read_text("utf-8", "surrogateescape")

    def wait_for(self, text: str, path: str = "") -> None:
        """Wait until that is all that is in the file."""
        self.until(lambda: self.text(path) == text)

    def read_from(self, reader: int, at_least: int) -> str:
        """What comes by a pipe: so much, or all until its end."""
        read, chunk = b"", b" "

        def is_enough() -> bool:
            nonlocal read, chunk
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(reader, 10_000)
                read += chunk
            return len(read) >= at_least or not chunk

        self.until(is_enough)
        return read.decode()

    def stat(self, name: str) -> int:
        """A statistic."""
        return values_of(self.store)[f"filesystem.{name}"]

    def wait_for_stat(self, name: str, value: int) -> None:
        """Wait until a statistic is this."""
        self.until(lambda: self.stat(name) == value)


class FlushTests(ManagerCase):
    """When records are written."""

    def test_interfaces(self) -> None:
        """The manager and its files provide their interfaces."""
        verifyObject(IAccessLogManager, self.manager)
        verifyObject(IAccessLogFile, self.manager.open(self.path))
        verifyObject(IAccessLogFile, self.manager.open("/dev/null"))

    def test_open(self) -> None:
        """The file is there as soon as it is opened, and what was in it stays."""
        Path(self.path).write_text("old\n")
        self.manager.open(self.path).write("new\n")
        self.manager.open(self.path + "2")
        self.wait_for("old\nnew\n")
        self.assertEqual("", self.text(self.path + "2"))

    def test_first_at_once(self) -> None:
        """The first record is written at once, the second one when the interval is over."""
        file = self.manager.open(self.path)
        file.write("one\n")
        self.wait_for("one\n")
        file.write("two\n")
        self.wait_for_stat("write_total_buffered", 4)
        self.clock.advance(self.interval)
        self.wait_for("one\ntwo\n")
        self.wait_for_stat("write_completed", 2)
        self.assertEqual(2, self.stat("write_buffered"))
        self.assertEqual(0, self.stat("write_total_buffered"))
        self.assertEqual(1, self.stat("flushed_by_timer"))

    def test_by_size(self) -> None:
        """Records are written sooner once they are larger than the size."""
        file = self.manager.open(self.path)
        file.write("1")
        self.wait_for("1")
        file.write("x" * 1024)
        self.wait_for_stat("write_total_buffered", 1024)
        file.write("y")
        self.wait_for("1" + "x" * 1024 + "y")
        self.assertEqual(0, self.stat("flushed_by_timer"))

    def test_one_file(self) -> None:
        """All that log to one path share its file, which is closed with the last of them."""
        one, two = self.manager.open(self.path), self.manager.open(self.path)
        self.assertIs(one, two)
        one.write("1")
        one.close()
        two.write("2")
        two.close()
        self.wait_for("12")
        self.until(lambda: self.clock.getDelayedCalls() == [], advance=True)

    def test_closed(self) -> None:
        """A file that nobody logs to any more is closed, whether anything was written or not."""
        for records in ([], ["1"]):
            reader, pipe = os.pipe2(os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            self.open = lambda path, pipe=pipe: pipe  # type: ignore[misc]
            file = self.manager.open(self.path)
            for record in records:
                file.write(record)
            file.close()
            # A pipe is at its end once nobody has it open for writing.
            self.assertEqual("".join(records), self.read_from(reader, at_least=10))

    def test_several_processes(self) -> None:
        """Several that append to one file, each opened for itself, mix no records: all are whole,
        and each one's are in order.
        """
        others = [AccessLogManager(Store(), self.clock, 10_000, 0) for _ in range(3)]
        expected: dict[str, list[str]] = {str(name): [] for name in range(3)}
        files = [other.open(self.path) for other in others]
        for number in range(300):
            for name, file in enumerate(files):
                record = f"{name} {number} {'x' * (number * 37 % 5000)}\n"
                expected[str(name)].append(record)
                file.write(record)
        for other in others:
            stopped = other.stop()
            self.until(lambda stopped=stopped: stopped.called, advance=True)  # type: ignore[misc]
        written: dict[str, list[str]] = {str(name): [] for name in range(3)}
        for line in self.text().splitlines(keepends=True):
            written[line.partition(" ")[0]].append(line)
        self.assertEqual(expected, written)

    def test_no_timer_without_files(self) -> None:
        """Without files there is no timer."""
        self.manager.open("/dev/null").write("nothing")
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(0, self.stat("write_buffered"))

    def test_stop(self) -> None:
        """At the end all that was recorded is written, and no timer is left."""
        file = self.manager.open(self.path)
        file.write("1")
        file.write("2")
        self.stop()
        self.assertEqual("12", self.text())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(2, self.stat("write_completed"))

    def test_after_the_end(self) -> None:
        """Records that come after the end are dropped, and nothing is opened any more."""
        file = self.opened()
        self.stop()
        for _ in range(3):
            file.write("late")
        file.flush()
        self.assertEqual("", self.text())
        self.assertRaises(OSError, self.manager.open, self.path)

    def test_bytes(self) -> None:
        """What came as bytes that are no UTF-8 is written as these; half a surrogate pair as a
        question mark.
        """
        self.assertEqual("é".encode() + b"\xff?", encode("é\udcff\ud800"))
        self.assertEqual(b"\xff", encode("\udcff"))


class ReopenTests(ManagerCase):
    """Files that are moved away."""

    def test_moved(self) -> None:
        """A file that was moved away is begun anew once the logs are opened anew, and as many may
        read it.
        """
        file = self.manager.open(self.path)
        file.write("1")
        self.wait_for("1")
        os.chmod(self.path, 0o600)
        os.rename(self.path, self.path + ".1")
        file.write("2")
        self.clock.advance(self.interval)
        self.wait_for("12", self.path + ".1")
        self.manager.reopen()
        self.until(lambda: Path(self.path).exists())
        file.write("3")
        self.clock.advance(self.interval)
        self.wait_for("3")
        self.assertEqual(0, self.stat("reopen_failed"))
        self.assertEqual(0o600, os.stat(self.path).st_mode & 0o7777)

    def test_kept(self) -> None:
        """What was kept when the logs are opened anew is written at once, to the new file, as in
        Envoy.
        """
        file = self.manager.open(self.path)
        file.write("1")
        self.wait_for("1")
        file.write("2")
        os.rename(self.path, self.path + ".1")
        self.manager.reopen()
        self.until(lambda: Path(self.path).exists())
        self.wait_for("2")

    def test_no_folder(self) -> None:
        """Where it cannot be opened anew the old file goes on, and that is counted; each time when
        something is written it is tried again.
        """
        file = self.manager.open(self.path)
        file.write("1")
        self.wait_for("1")
        away = self.folder.with_suffix(".away")
        self.folder.rename(away)
        self.manager.reopen()
        self.wait_for_stat("reopen_failed", 1)
        file.write("2")
        self.clock.advance(self.interval)
        self.wait_for("12", str(away / "log"))
        self.assertEqual(2, self.stat("reopen_failed"))
        self.folder.mkdir()
        file.write("3")
        self.clock.advance(self.interval)
        self.until(lambda: Path(self.path).exists())
        self.wait_for("3")

    def test_before_the_first_record(self) -> None:
        """A file to which nothing was written yet is opened anew with the first record."""
        file = self.manager.open(self.path)
        os.rename(self.path, self.path + ".1")
        self.manager.reopen()
        file.write("1")
        self.until(lambda: Path(self.path).exists())
        self.wait_for("1")


class TroubleTests(ManagerCase):
    """Files that cannot be written."""

    size = 0

    def test_cannot_open(self) -> None:
        """What cannot be opened is an OSError: no folder, a folder, a name that is none."""
        for path in (self.path + "/x", str(self.folder), "a\0b"):
            self.assertRaises(OSError, self.manager.open, path)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_full(self) -> None:
        """What a full disk does not take is lost and counted, and the log of the process says so,
        every ten seconds at most.
        """
        file = self.manager.open("/dev/full")
        for _ in range(3):
            file.write("1")
        self.wait_for_stat("write_failed", 3)
        self.assertEqual(0, self.stat("write_completed"))
        self.wait_for_stat("write_total_buffered", 0)
        with capturedLogs() as events:
            self.clock.advance(self.interval)
            file.write("1")
            self.wait_for_stat("write_failed", 4)
            self.clock.advance(self.interval / 2)
        (said,) = [formatEvent(event) for event in events]
        self.assertIn("3 records of the access log /dev/full are lost: No space left", said)

    def test_fifo(self) -> None:
        """A FIFO that nobody reads holds up nobody; who reads it later finds what it could hold."""
        os.mkfifo(self.path)
        file = self.manager.open(self.path)
        file.write("1\n")
        file.write("2\n")
        self.wait_for_stat("write_completed", 2)
        with open(self.path, "rb", buffering=0) as reader:
            self.assertEqual(b"1\n2\n", reader.read(100))

    def test_pieces(self) -> None:
        """A FIFO gets whole records at a time and never more than it takes as one, so that those of
        several processes are not mixed.
        """
        reader, pipe = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)  # each write is a read of its own
        self.addCleanup(os.close, reader)
        self.open = lambda path: pipe
        file: Any = self.manager.open(self.path)
        records = ["a" * 2000, "b" * 2000, "c" * 96, "d" * 4096, "e", "f"]
        file.write("first")
        self.wait_for_stat("write_completed", 1)
        self.assertEqual(b"first", os.read(reader, 10_000))
        file.writer.put(records, 0)
        self.wait_for_stat("write_completed", 4)
        read = [os.read(reader, 10_000).decode() for _ in range(3)]
        self.assertEqual(["".join(records[:3]), records[3], "ef"], read)

    def test_read_later(self) -> None:
        """What does not fit into a FIFO is written once its reader has made room."""
        os.mkfifo(self.path)
        file = self.manager.open(self.path)
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        file.write("1" * 200_000)
        self.assertEqual("1" * 200_000, self.read_from(reader, at_least=200_000))
        self.wait_for_stat("write_completed", 1)

    def test_stuck(self) -> None:
        """What a file does not take is kept up to a bound, and then dropped and counted; at the end
        it is not waited for long.
        """
        self.patch(manager, "MOST_WAITING", 100_000)
        os.mkfifo(self.path)
        file = self.manager.open(self.path)
        record = "x" * 9_999 + "\n"
        for _ in range(100):
            file.write(record)
        self.assertGreater(self.stat("write_dropped"), 50)
        self.assertLessEqual(self.stat("write_total_buffered"), 110_000)
        self.stop()
        self.assertGreaterEqual(self.clock.seconds(), manager.PATIENCE)

    def test_stuck_and_replaced(self) -> None:
        """A file that takes nothing is left once another one has its path and files are to be
        opened anew: what waits goes there, and what could not be written counts as lost.
        """
        os.mkfifo(self.path)
        file = self.manager.open(self.path)
        for _ in range(20):
            file.write("x" * 9_999 + "\n")
        self.until(lambda: self.stat("write_completed") == 6)
        os.unlink(self.path)
        with capturedLogs() as lines:
            self.manager.reopen()
            file.write("after\n")
            self.clock.advance(self.interval)
            self.until(lambda: os.path.exists(self.path) and self.text().endswith("after\n"))
            self.clock.advance(self.interval)
        self.assertIn("1 records of the access log", "".join(map(str, map(formatEvent, lines))))
        self.assertEqual(13 * 10_000 + 6, len(self.text()))
        self.assertEqual(1, self.stat("write_failed"))

    def test_whole_records(self) -> None:
        """A record that did not fit on a disk is completed once there is room; those after it are
        lost as a whole.
        """
        sizes = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, sizes)
        file = self.manager.open(self.path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, sizes[1]))
        file.write("abcdefg\n")
        file.write("hijklmn\n")
        self.wait_for_stat("write_failed", 1)
        file.write("lost\n")
        self.wait_for_stat("write_failed", 2)
        self.assertEqual("abcdefg\nhi", self.text())
        resource.setrlimit(resource.RLIMIT_FSIZE, sizes)
        file.write("opqrstu\n")
        self.wait_for("abcdefg\nhijklmn\nopqrstu\n")

    def test_lost_records(self) -> None:
        """Of records that go together, those are lost of which nothing is in the file."""
        sizes = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, sizes)
        for room, lost in ((8, 3), (10, 2), (30, 0)):
            path = f"{self.path}.{room}"
            file: Any = self.manager.open(path)
            writer = file.writer
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, sizes[1]))
            writer.put(["abcdefg\n", "hijklmn\n", "opqrstu\n", "v\n"], 26)
            writer.start()
            self.until(lambda writer=writer: writer.done)  # type: ignore[misc]
            resource.setrlimit(resource.RLIMIT_FSIZE, sizes)
            self.assertEqual(lost, writer.lost)

    def test_nothing_lost(self) -> None:
        """Of a file that takes all there is no word in the log of the process."""
        with capturedLogs() as events:
            file = self.manager.open(self.path)
            file.write("1")
            self.wait_for("1")
            self.clock.advance(self.interval)
            file.write("2")
            self.stop()
        self.assertEqual([], events)

    def test_closed_pipe(self) -> None:
        """Standard output may be a pipe that nobody reads any more: that is counted."""
        reader, pipe = os.pipe()
        os.close(reader)
        self.open = lambda path: pipe
        self.manager.open("/dev/stdout").write("1")
        self.wait_for_stat("write_failed", 1)

    def test_strange_failure(self) -> None:
        """Whatever fails is counted, and the next records are another occasion."""
        file = self.opened()
        writer: Any = file.writer
        write, writer._write = writer._write, lambda records: 1 // 0
        file.write("1")
        self.wait_for_stat("write_failed", 1)
        writer._write = write
        file.write("2")
        self.wait_for("2")

    def test_no_threads(self) -> None:
        """Where the system has no thread left, records are dropped and counted, until it has."""
        file = self.opened()
        writer: Any = file.writer
        start = writer.start

        def fail() -> None:
            raise RuntimeError("can't start new thread")

        self.patch(writer, "start", fail)
        file.write("1")
        self.assertEqual(1, self.stat("write_dropped"))
        writer.start = start
        file.write("2")
        self.wait_for("2")


class OpeningTests(SynchronousTestCase):
    """How files are opened."""

    def opened(self, path: str) -> int:
        """An open file, for the time of the test."""
        fd = open_for_records(path)
        self.addCleanup(os.close, fd)
        return fd

    def test_mode(self) -> None:
        """A new file may be read by all, and written by its owner."""
        path = self.mktemp()
        before = os.umask(0o22)
        self.addCleanup(os.umask, before)
        self.assertEqual(0o644, stat.S_IMODE(os.fstat(self.opened(path)).st_mode))

    def test_not_inherited(self) -> None:
        """No child gets it."""
        for path in (self.mktemp(), "/dev/stdout"):
            self.assertFalse(os.get_inheritable(self.opened(path)))

    def test_standard(self) -> None:
        """/dev/stdout and /dev/stderr are what the process was started with, by each of their
        names.
        """
        for names, number in (
            (("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"), 1),
            (("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"), 2),
        ):
            for path in names:
                found, expected = os.fstat(self.opened(path)), os.fstat(number)
                self.assertEqual((expected.st_dev, expected.st_ino), (found.st_dev, found.st_ino))

    def test_fifo_of_others(self) -> None:
        """A FIFO that may only be written to is opened if somebody reads it."""
        path = self.mktemp()
        os.mkfifo(path, 0o200)
        if os.geteuid():
            self.assertRaises(OSError, open_for_records, path)
        else:
            self.opened(path)
