"""Warnings of limits that limit nothing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import changed, warned


class LimitTests(SynchronousTestCase):
    """What the system, or the way, cuts off before."""

    def test_idle_timeout(self) -> None:
        """An idle timeout above what any NAT has to remember is told at its line; Envoy's default
        is not, nor none.
        """
        self.assertIn("15:25: ", warned(changed(("idle_timeout: 5s", "idle_timeout: 86400s")))[0])
        for value in ("3600s", "7440s", "0s"):
            self.assertEqual([], warned(changed(("idle_timeout: 5s", f"idle_timeout: {value}"))))

    def limited(self, connections: int, open_files: int | None) -> list[str]:
        """The warnings where a cluster may have this many connections and the process this many
        files.
        """
        breakers = (
            f"type: STATIC\n    circuit_breakers: {{thresholds: [{{max_connections: "
            f"{connections}}}]}}"
        )
        return warned(changed(("type: STATIC", breakers)), open_files=open_files)

    def test_open_files(self) -> None:
        """A limit of connections that the process has not the descriptors for is told, with what
        would be needed.
        """
        found = self.limited(600, 1024)

        self.assertEqual(1, len(found))
        self.assertIn(
            "20:55: static_resources.clusters[0].circuit_breakers.thresholds[0]"
            ".max_connections: warning: ",
            found[0],
        )
        self.assertIn(
            "600 connections need 1200 open files, and this process may have 1024", found[0]
        )
        self.assertIn("ulimit -n 2200", found[0])

    def test_limits_that_hold(self) -> None:
        """Nothing is said of a limit within reach, of a process without one, and of numbers that
        stand for no limit.
        """
        self.assertEqual([], self.limited(512, 1024))
        self.assertEqual([], self.limited(600, None))
        self.assertEqual([], self.limited(4294967295, 1024))
