"""Warnings of limits that limit nothing."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.checks.limits import KEPT, open_files
from tcpmesh.net.descriptor_reserve import RESERVE
from tests.config.texts import GOOD, changed, warned


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
            "600 connections need 1328 open files, two for each and 128 for the rest, and this "
            "process may have 1024: it will not get there",
            found[0],
        )
        self.assertIn("ulimit -n 1328", found[0])

    def test_limits_that_hold(self) -> None:
        """Nothing is said of a limit within reach, of a process without one, and of numbers that
        stand for no limit.
        """
        self.assertEqual([], self.limited(512, 1152))
        self.assertEqual(1, len(self.limited(512, 1151)))
        self.assertEqual([], self.limited(600, None))
        self.assertEqual([], self.limited(4294967295, 1024))

    def test_other_limits(self) -> None:
        """The limit of all listeners is judged so too, and what the runtime says of them, where it
        is written in the file.
        """
        kind = "downstream_connections.v3.DownstreamConnectionsConfig"
        typed = f"type.googleapis.com/envoy.extensions.resource_monitors.{kind}"
        name = "envoy.resource_monitors.global_downstream_max_connections"
        config = f"{{'@type': {typed}, max_active_downstream_connections: 600}}"
        monitors = f"[{{name: {name}, typed_config: {config}}}]"
        manager = f"overload_manager: {{resource_monitors: {monitors}}}"
        values = (
            "{overload.global_downstream_max_connections: 600, x: 600,"
            " envoy: {resource_limits: {listener: {front: {connection_limit: 600}}}}}"
        )
        layers = f"layered_runtime: {{layers: [{{name: s, static_layer: {values}}}]}}"
        for more, places in (
            (manager, ["typed_config.max_active_downstream_connections: "]),
            (
                layers,
                [
                    'static_layer["overload.global_downstream_max_connections"]: ',
                    "static_layer.envoy.resource_limits.listener.front.connection_limit: ",
                ],
            ),
        ):
            found = self.about_files(f"{GOOD}{more}\n", 1024)
            self.assertEqual(len(places), len(found), found)
            for place, line in zip(places, found, strict=True):
                self.assertIn(place, line)
            self.assertEqual([], self.about_files(f"{GOOD}{more}\n", 1328))

    def about_files(self, text: str, open_files: int) -> list[str]:
        """The warnings of limits of 600 connections."""
        return [each for each in warned(text, open_files=open_files) if ": 600 conn" in each]

    def test_default(self) -> None:
        """What circuit breakers allow where nothing is said is judged so too, once for all
        clusters.
        """
        two = changed(("  clusters:\n", "  clusters:\n  - {name: x, type: STATIC}\n"))
        found = [each for each in warned(two, open_files=1024) if "open files" in each]
        self.assertEqual(1, len(found), found)
        self.assertIn("clusters[0].circuit_breakers: warning: 1024 connections need", found[0])
        self.assertEqual([], [each for each in warned(two, open_files=2176) if "files" in each])

    def test_kept(self) -> None:
        """What is left for all else has room for what clients may not take."""
        self.assertGreater(KEPT, RESERVE)

    def test_limit_of_the_process(self) -> None:
        """The limit is that of this process, or how far it may be raised."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for is_raised, limit in ((False, soft), (True, hard)):
            expected = None if limit == resource.RLIM_INFINITY else limit
            self.assertEqual(expected, open_files(is_raised))
