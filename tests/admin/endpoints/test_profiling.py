"""Profilers: Python's own where it means something, and Envoy's words where there is none."""

from __future__ import annotations

import os
import pstats
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.client import Client
from tests.admin.fakes import FakeServer


class ProfilingTests(SynchronousTestCase):
    """What each page says."""

    def setUp(self) -> None:
        """A server with a place for profiles."""
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "cpu.prof")
        self.server = FakeServer()
        self.server.bootstrap.admin.profile_path = self.path
        self.client = Client(self.server)

    def post(self, path: str) -> tuple[int, str]:
        """The status and the body."""
        found = self.client.ask(path, "POST")
        return found.status, found.body

    def test_cpu(self) -> None:
        """A profile of what was done in between is written to profile_path, whole or not at all;
        started twice it goes on, ended twice nothing is written.
        """
        self.assertEqual((200, "OK\n"), self.post("/cpuprofiler?enable=y"))
        self.assertEqual((200, "OK\n"), self.post("/cpuprofiler?enable=y"))
        self.client.ask("/ready")
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual((200, "OK\n"), self.post("/cpuprofiler?enable=n"))
        functions = {name for _, _, name in pstats.Stats(self.path).stats}  # type: ignore[attr-defined]
        self.assertIn("_ready", functions)
        self.assertEqual(["cpu.prof"], os.listdir(self.folder))
        os.unlink(self.path)
        self.assertEqual((200, "OK\n"), self.post("/cpuprofiler?enable=n"))
        self.assertEqual([], os.listdir(self.folder))

    def test_no_place(self) -> None:
        """Where there is no place for the profile, none is made."""
        self.server.bootstrap.admin.profile_path = os.path.join(self.folder, "none", "cpu.prof")
        self.assertEqual((500, "failure to start the profiler"), self.post("/cpuprofiler?enable=y"))

    def test_gone(self) -> None:
        """Where the place has gone meanwhile, the profiler ends and says that it cannot write."""
        self.server.bootstrap.admin.profile_path = os.path.join(self.folder, "none", "cpu.prof")
        os.mkdir(os.path.join(self.folder, "none"))
        self.post("/cpuprofiler?enable=y")
        os.rmdir(os.path.join(self.folder, "none"))
        status, body = self.post("/cpuprofiler?enable=n")
        self.assertEqual((500, True), (status, body.startswith("cannot write the profile: ")))
        self.assertEqual((200, "OK\n"), self.post("/cpuprofiler?enable=n"))

    def test_none(self) -> None:
        """What Envoy's tcmalloc would tell is not implemented, and who asks wrongly is told so."""
        for path, status, words in (
            ("/cpuprofiler", 400, "?enable=<y|n>\n"),
            ("/cpuprofiler?enable=yes", 400, "?enable=<y|n>\n"),
            ("/allocprofiler", 400, "?enable=<y|n>\n"),
            ("/allocprofiler?enable=y", 501, "Allocation profile is not implemented"),
            ("/heapprofiler", 501, "The current build does not support heap profiler"),
            ("/heap_dump", 501, "Heap profile is not implemented in current build"),
            ("/peak_heap_dump", 501, "Heap profile is not implemented in current build"),
            ("/contention", 200, "Mutex contention tracing is not enabled."),
            ("/memory/tcmalloc", 501, "There is no tcmalloc"),
        ):
            found = self.post(path)
            self.assertEqual((status, True), (found[0], found[1].startswith(words)), path)
