"""Layers of runtime values, and watchdogs, that cannot work."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import said, warned


class LayerTests(SynchronousTestCase):
    """The layers of a bootstrap."""

    def problem(self, *layers: str, more: str = "") -> str:
        """The one thing that is wrong with these layers, a line each."""
        text = (
            more + "layered_runtime:\n  layers:\n" + "".join(f"  - {{{each}}}\n" for each in layers)
        )
        problems = [each for each in said(text) if "warning" not in each]
        self.assertEqual(len(problems), 1, problems)
        return problems[0]

    def test_names(self) -> None:
        """Two layers of one name are told, with the place of the first."""
        found = self.problem("name: a, static_layer: {}", "name: a, admin_layer: {}")
        self.assertIn("4:12: ", found)
        self.assertIn("layers[1].name: duplicate layer 'a', the first is at", found)

    def test_admin(self) -> None:
        """There is one layer for what operators set."""
        found = self.problem("name: a, admin_layer: {}", "name: b, admin_layer: {}")
        self.assertIn("layers[1].admin_layer: a second layer", found)

    def test_values(self) -> None:
        """Null and lists are no values, at any depth, but inside of a share."""
        for value, kind in (("[1]", "a list"), ("null", "null")):
            found = self.problem(f"name: a, static_layer: {{x: {{y: {value}}}}}")
            self.assertIn(f"layers[0].static_layer.x.y: no runtime value: {kind}", found)
        found = self.problem("name: a, static_layer: {x: {numerator: null}, y: null}")
        self.assertIn("layers[0].static_layer.y: no", found)

    def test_root(self) -> None:
        """A root on disk is in a directory, and that is there."""
        for root, text in (
            ("nope", "'nope' names no directory that it is in (./nope)"),
            ("", "'' names no directory that it is in"),
            ("/nowhere/at/all", "cannot watch '/nowhere/at/all': there is no directory"),
        ):
            found = self.problem(f"name: a, disk_layer: {{symlink_root: '{root}'}}")
            self.assertIn(f"disk_layer.symlink_root: {text}", found)

    def test_rtds(self) -> None:
        """A layer by discovery says where from, which is a file that is there."""
        found = self.problem("name: a, rtds_layer: {name: x}")
        self.assertIn("rtds_layer.rtds_config: a layer from discovery needs an rtds_config", found)
        node = "node: {id: a, cluster: b}\n"
        found = self.problem("name: a, rtds_layer: {rtds_config: {path: /nope}}", more=node)
        self.assertIn("rtds_layer.rtds_config.path: cannot read the file '/nope'", found)
        found = self.problem("name: a, rtds_layer: {rtds_config: {ads: {}}}", more=node)
        self.assertIn("rtds_layer.rtds_config.ads", found)
        found = self.problem("name: a, rtds_layer: {rtds_config: {path: /dev/null}}")
        self.assertIn("rtds_layer.rtds_config: discovery needs a node with id", found)


class WatchdogTests(SynchronousTestCase):
    """The watchdogs of a bootstrap."""

    def test_both(self) -> None:
        """The older field and the newer one together are refused."""
        found = said("watchdog: {miss_timeout: 1s}\nwatchdogs: {}")
        self.assertIn("2:1: watchdogs: only one of watchdog and watchdogs can be set", found[-1])

    def test_main(self) -> None:
        """That main is to be ended is a warning: nobody would do it."""
        for who, count in (("main_thread", 1), ("worker", 0)):
            lines = warned(f"watchdogs: {{{who}_watchdog: {{kill_timeout: 1s}}}}")
            found = [each for each in lines if "nothing ends the main process" in each]
            self.assertEqual(len(found), count, lines)
