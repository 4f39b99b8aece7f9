"""How the benchmark tells which Python runs tcpmesh."""

from __future__ import annotations

import platform
import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.interpreter import Interpreter, build, describe
from benchmarks.process import BenchmarkError


class BuildTests(SynchronousTestCase):
    """What an interpreter knows of how it was built."""

    def test_options(self) -> None:
        """PGO and LTO are options of configure."""
        for options, words in (
            ("'--enable-optimizations' '--with-lto'", "with PGO, with LTO"),
            ("'--enable-optimizations'", "with PGO, without LTO"),
            ("'--enable-shared' '--prefix=/opt'", "without PGO, without LTO"),
        ):
            self.assertEqual(f"P 3, built {words}", build(Interpreter("P 3", options, "-O3")))

    def test_flags(self) -> None:
        """Or they are flags of the compiler."""
        built = build(Interpreter("P 3", "", "-O3 -flto -fprofile-use"))

        self.assertEqual("P 3, built with PGO, with LTO", built)

    def test_debian(self) -> None:
        """Debian's packages have both, although sysconfig does not say so."""
        options = "'--with-wheel-pkg-dir=/usr/share/python-wheels/'"

        self.assertEqual(
            "P 3, Debian's package: built with PGO and LTO",
            build(Interpreter("P 3", options, "-O2")),
        )

    def test_running(self) -> None:
        """The running one is described by its version and its build."""
        self.assertRegex(describe(sys.executable), f"{platform.python_version()}.*PGO")

    def test_none(self) -> None:
        """What does not run is told."""
        self.assertRaisesRegex(BenchmarkError, "/nowhere does not run", describe, "/nowhere")
