"""Layers of runtime values: what they come to, and how changes are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.json_format import ParseDict

from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.moves import INTERVAL, CannotWatch
from tcpmesh.runtime import layers
from tcpmesh.runtime.entries import NotReadable
from tcpmesh.runtime.following import FollowedRuntime
from tcpmesh.runtime.layers import Layers, NoAdminLayer, static_values
from tcpmesh.runtime.snapshot import FEW
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.link import RuntimeValues
from tcpmesh.values.runtime import Entry


class LayersTestCase(SynchronousTestCase):
    """Main's layers, and a worker that follows."""

    def setUp(self) -> None:
        """A cooperator that does a step when the test says so."""
        self.clock = Clock()
        self.store = Store()
        self.told: list[RuntimeValues] = []
        self.cooperator = Cooperator(
            lambda: lambda: True, lambda work: self.clock.callLater(0, work)
        )
        self.followed = FollowedRuntime((), self.cooperator)

    def begin(self, text: str, cluster: str = "") -> Layers:
        """Main has these layers."""
        message = Bootstrap()
        ParseDict({"layered_runtime": {"layers": yaml.safe_load(text)}}, message)
        made = Layers(message, cluster, self.store, self.send)
        self.followed = FollowedRuntime(made.begin(), self.cooperator)
        made.start(self.clock, self.cooperator)
        self.addCleanup(made.stop)
        return made

    def send(self, message: RuntimeValues) -> None:
        """Main tells the worker."""
        self.told.append(message)
        self.followed.receivers[RuntimeValues](message)

    def texts(self, made: Layers) -> dict[str, str]:
        """All values, which are the worker's as well."""
        main, worker = dict(made.runtime.items()), dict(self.followed.runtime.items())
        self.assertEqual(main, worker)
        return {key: entry.text for key, entry in main.items()}

    def stats(self) -> dict[str, int]:
        """Statistics that are not 0."""
        found = values_of(self.store).items()
        return {name.removeprefix("runtime."): value for name, value in found if value}

    def settle(self) -> None:
        """Do all steps that there are."""
        for _ in range(5000):
            if not [each for each in self.clock.getDelayedCalls() if each.getTime() == 0]:
                break
            self.clock.advance(0)


class StaticTests(LayersTestCase):
    """Layers of the configuration."""

    def test_none(self) -> None:
        """Without layered_runtime there is nothing, and that is loaded twice, as in Envoy."""
        made = Layers(Bootstrap(), "", self.store, self.send)
        self.assertEqual((len(made.runtime), made.shown()), (0, []))
        self.assertEqual(self.stats(), {"load_success": 2, "override_dir_not_exists": 2})
        self.assertRaises(NoAdminLayer, made.modify, {"x": "1"})

    def test_empty(self) -> None:
        """A layered_runtime without layers has a layer for operators, without a name."""
        made = self.begin("[]")
        made.modify({"x": "1"})
        self.assertEqual(made.shown(), [("", {"x": Entry("1", 1.0, True)})])

    def test_order(self) -> None:
        """Of a key the last layer counts, even with an empty text."""
        made = self.begin("""
            - {name: a, static_layer: {x: 1, y: 2, z: 3}}
            - {name: b, static_layer: {y: 4, z: ""}}
        """)
        self.assertEqual(self.texts(made), {"x": "1", "y": "4", "z": ""})
        self.assertEqual((self.stats()["num_keys"], self.stats()["num_layers"]), (3, 2))
        self.assertEqual([name for name, _ in made.shown()], ["a", "b"])

    def test_nested(self) -> None:
        """Mappings make keys with dots, but not a share; a key with dots of its own comes first."""
        struct = Bootstrap().layered_runtime.layers.add().static_layer
        plain = {"a": {"b": {"c": 1}, "d.e": 2}, "f": {"numerator": 5}, "g": {}, "x": {"y": 1}}
        ParseDict({**plain, "x.y": 2}, struct)
        values = {key: entry.whole for key, entry in static_values(struct).items()}
        expected = {"a.b.c": 1, "a.d.e": 2, "f": None, "g": None, "x.y": 2}
        self.assertEqual(values, expected)


class DiscoveredTests(LayersTestCase):
    """Layers of RTDS."""

    LAYERS = (
        "[{name: a, static_layer: {x: 1, y: 1}}, {name: b, rtds_layer: {}}, "
        "{name: c, rtds_layer: {}}]"
    )

    def test_before_it_comes(self) -> None:
        """Such a layer is there from the beginning, and empty."""
        made = self.begin(self.LAYERS)
        self.assertEqual([("b", {}), ("c", {})], made.shown()[1:])
        self.assertEqual(3, self.stats()["num_layers"])

    def test_at_the_start(self) -> None:
        """What is there before the layers are looked after holds at once."""
        message = Bootstrap()
        ParseDict({"layered_runtime": {"layers": yaml.safe_load(self.LAYERS)}}, message)
        made = Layers(message, "", self.store, self.send)
        made.discovered("b", {"x": Entry("2")})
        self.assertEqual("2", self.followed.runtime.get("x").text)  # type: ignore[union-attr]
        self.assertEqual(3, self.stats()["load_success"])

    def test_changes(self) -> None:
        """What comes later holds as a whole, a little later; what it lacks is no more."""
        made = self.begin(self.LAYERS)
        made.discovered("b", {"x": Entry("2"), "z": Entry("2")})
        self.assertEqual({"x": "1", "y": "1"}, self.texts(made))
        self.settle()
        self.assertEqual({"x": "2", "y": "1", "z": "2"}, self.texts(made))
        made.discovered("b", {"y": Entry("3")})
        self.settle()
        self.assertEqual({"x": "1", "y": "3"}, self.texts(made))
        self.assertEqual(4, self.stats()["load_success"])

    def test_let_go_in_steps(self) -> None:
        """A step lets go of some values that are no more, and of no more of them than it would
        compare.
        """
        gone: list[int] = []

        class Noticed(Entry):
            def __del__(self) -> None:
                gone.append(0)

        message = Bootstrap()
        layer = {"name": "rtds", "rtds_layer": {"name": "x"}}
        ParseDict({"layered_runtime": {"layers": [layer]}}, message)
        made = Layers(message, "", self.store, lambda message: None)
        size = 10 * layers.STEP
        for _ in range(2):  # of the second ones none counts, for they are as the first are
            made.discovered("rtds", {f"k{number}": Noticed(f"{number}") for number in range(size)})
        steps: list[Callable[[], object]] = []

        def later(step: Callable[[], object]) -> DelayedCall:
            steps.append(step)
            return DelayedCall(0.0, step, (), {}, lambda call: None, lambda call: None)

        made.start(self.clock, Cooperator(lambda: lambda: True, later))
        self.addCleanup(made.stop)
        made.discovered("rtds", {})
        most = before = 0
        while steps:
            steps.pop()()
            most, before = max(most, len(gone) - before), len(gone)
        self.assertEqual(2 * size, len(gone))
        self.assertLessEqual(most, layers.STEP)

    def test_worker_in_steps(self) -> None:
        """A worker deals with a large change in steps, once all of it holds."""
        size = 4 * FEW
        values = tuple((f"k{number}", Entry("1")) for number in range(size))
        self.followed.receivers[RuntimeValues](RuntimeValues(1, values, True))
        self.assertEqual(Entry("1"), self.followed.runtime.get(f"k{size - 1}"))
        self.assertTrue(self.followed.runtime.settle(0))
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertFalse(self.followed.runtime.settle(0))

    def test_looked_at(self) -> None:
        """Whoever is still looking at values that are no more sees all of them."""
        message = Bootstrap()
        layer = {"name": "rtds", "rtds_layer": {"name": "x"}}
        ParseDict({"layered_runtime": {"layers": [layer]}}, message)
        made = Layers(message, "", self.store, lambda message: None)
        made.discovered("rtds", {"a": Entry("1"), "b": Entry("2")})
        ((_, seen),) = made.shown()
        made.discovered("rtds", {})
        self.assertEqual(["a", "b"], list(seen))

    def test_two(self) -> None:
        """Of two layers the later one wins, in whatever order their values come, also while others
        are being worked out.
        """
        made = self.begin(self.LAYERS)
        made.discovered("c", {"x": Entry("c")})
        made.discovered("b", {"x": Entry("b"), "y": Entry("b")})
        self.settle()
        self.assertEqual({"x": "c", "y": "b"}, self.texts(made))

    def test_with_a_disk_layer(self) -> None:
        """Trees on disk are read again with it, as in Envoy, and win where they come later."""
        root = Path(self.mktemp()).absolute()
        (root / "one").mkdir(parents=True)
        (root / "one" / "x").write_text("disk")
        disk = f"{{symlink_root: {root}/one}}"
        made = self.begin(f"[{{name: b, rtds_layer: {{}}}}, {{name: d, disk_layer: {disk}}}]")
        made.discovered("b", {"x": Entry("b"), "y": Entry("b")})
        self.settle()
        self.assertEqual({"x": "disk", "y": "b"}, self.texts(made))


class ReplacedTests(LayersTestCase):
    """Static layers that are others while the proxy runs."""

    def replace(self, made: Layers, text: str) -> None:
        """The configuration has these layers now."""
        message = Bootstrap()
        ParseDict({"layered_runtime": {"layers": yaml.safe_load(text)}}, message)
        made.replace_static(message)

    def test_values(self) -> None:
        """Values come, change and go, and layers as well, around those that stay."""
        made = self.begin("[{name: a, static_layer: {x: 1, y: 1}}, {name: c, admin_layer: {}}]")
        made.modify({"y": "9"})
        self.replace(
            made,
            """
            - {name: a, static_layer: {x: 2, y: 3}}
            - {name: b, static_layer: {z: 4}}
            - {name: c, admin_layer: {}}
            """,
        )
        self.assertEqual({"x": "2", "y": "9", "z": "4"}, self.texts(made))
        self.assertEqual(["a", "b", "c"], [name for name, _ in made.shown()])
        self.replace(made, "[{name: c, admin_layer: {}}]")
        self.assertEqual({"y": "9"}, self.texts(made))
        self.assertEqual(1, self.stats()["num_layers"])

    def test_equal(self) -> None:
        """What is as before is told to nobody."""
        text = "[{name: a, static_layer: {x: 1}}]"
        made = self.begin(text)
        self.replace(made, text)
        self.assertEqual([], self.told)

    def test_many(self) -> None:
        """Many values are told in messages of a bounded size."""
        self.patch(layers, "MOST_KEYS", 7)
        made = self.begin("[{name: a, static_layer: {}}]")
        values = ", ".join(f"k{number}: {number}" for number in range(30))
        self.replace(made, f"[{{name: a, static_layer: {{{values}}}}}]")
        self.assertEqual(30, len(self.texts(made)))
        self.assertEqual([7, 7, 7, 7, 2], [len(each.values) for each in self.told])


class AdminTests(LayersTestCase):
    """The layer of operators."""

    def begin_admin(self) -> Layers:
        """Between two static layers."""
        return self.begin("""
            - {name: a, static_layer: {x: 1, y: 1}}
            - {name: b, admin_layer: {}}
            - {name: c, static_layer: {y: 9}}
        """)

    def test_set(self) -> None:
        """What is set counts over the layers before, not over those after; an empty text takes it
        away.
        """
        made = self.begin_admin()
        made.modify({"x": "5", "y": "5", "z": "true"})
        self.assertEqual(self.texts(made), {"x": "5", "y": "9", "z": "true"})
        self.assertEqual(self.followed.runtime.get("z"), Entry("true", truth=True))
        self.assertIs(self.stats()["admin_overrides_active"], 1)
        made.modify({"x": "", "y": "", "z": "", "never": ""})
        self.assertEqual(self.texts(made), {"x": "1", "y": "9"})
        self.assertNotIn("admin_overrides_active", self.stats())
        self.assertEqual((self.stats()["load_success"], self.stats()["num_keys"]), (4, 2))

    def test_told(self) -> None:
        """Workers are told of the keys that were set, and of no others."""
        self.begin_admin().modify({"x": "5"})
        self.assertEqual([dict(each.values).keys() for each in self.told], [{"x"}])

    def test_no_layer(self) -> None:
        """Without such a layer nothing can be set."""
        made = self.begin("[{name: a, static_layer: {x: 1}}]")
        error = self.assertRaises(NoAdminLayer, made.modify, {"x": "5"})
        self.assertEqual(str(error), "No admin layer specified")

    def test_no_value(self) -> None:
        """Where one text is no value, nothing is set."""
        made = self.begin_admin()
        self.assertRaises(NotReadable, made.modify, {"x": "5", "z": "{a"})
        self.assertEqual((self.texts(made), self.told), ({"x": "1", "y": "9"}, []))


class DiskTests(LayersTestCase):
    """Layers on disk."""

    def setUp(self) -> None:
        """There is a directory for trees."""
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.link = self.folder / "link"

    def tree(self, name: str, **values: str) -> None:
        """A tree with these values."""
        for key, text in values.items():
            path = self.folder / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def point(self, name: str) -> None:
        """The link points to this tree from now on."""
        new = self.folder / "new"
        new.symlink_to(name)
        os.rename(new, self.link)

    def swap(self, name: str) -> None:
        """The same, and main sees it."""
        self.point(name)
        self.clock.advance(INTERVAL)
        self.settle()

    def begin_disk(self, more: str = "") -> Layers:
        """A layer on disk between two others."""
        return self.begin(f"""
            - {{name: a, static_layer: {{x: 1, y: 1}}}}
            - {{name: b, disk_layer: {{symlink_root: "{self.link}" {more}}}}}
            - {{name: c, admin_layer: {{}}}}
        """)

    def test_swap(self) -> None:
        """When the link points to another tree its values count, and the first one's are gone."""
        self.tree("one", x="5", z="5")
        self.tree("two", y="6")
        self.point("one")
        made = self.begin_disk()
        self.assertEqual(self.texts(made), {"x": "5", "y": "1", "z": "5"})
        self.swap("two")
        self.assertEqual(self.texts(made), {"x": "1", "y": "6"})
        self.assertEqual((self.stats()["load_success"], self.stats()["num_keys"]), (3, 2))
        self.assertEqual(dict(self.told[-1].values).keys(), {"x", "y", "z"})

    def test_path(self) -> None:
        """Below the root are the subdirectory, and the name of the service cluster if that is
        wanted.
        """
        self.tree("one/sub/web", x="5")
        self.point("one")
        made = self.begin(
            f"[{{name: b, disk_layer: {{symlink_root: '{self.link}', subdirectory: sub, "
            f"append_service_cluster: true}}}}]",
            "web",
        )
        self.assertEqual(self.texts(made), {"x": "5"})

    def test_comes_and_goes(self) -> None:
        """A tree that is not there is no layer, and no error; it may come."""
        made = self.begin_disk()
        self.assertEqual([name for name, _ in made.shown()], ["a", "c"])
        self.tree("one", x="5")
        self.swap("one")
        self.assertEqual((self.texts(made)["x"], self.stats()["num_layers"]), ("5", 3))
        self.swap("nowhere")
        self.assertEqual((self.texts(made)["x"], self.stats()["num_layers"]), ("1", 2))
        self.assertNotIn("load_error", self.stats())

    def test_unreadable(self) -> None:
        """A tree that cannot be read is no layer, and is counted."""
        self.tree("one", x="5")
        self.tree("bad", x="{a")
        self.point("one")
        made = self.begin_disk()
        self.swap("bad")
        self.assertEqual((self.texts(made)["x"], self.stats()["load_error"]), ("1", 1))
        self.swap("one")
        self.assertEqual((self.texts(made)["x"], self.stats()["load_error"]), ("5", 1))

    def test_two(self) -> None:
        """With two trees that are there, Envoy counts that directories of overrides exist."""
        self.tree("one/a", x="5")
        self.tree("one/b", x="6")
        self.point("one")
        made = self.begin(f"""
            - {{name: a, disk_layer: {{symlink_root: "{self.link}", subdirectory: a}}}}
            - {{name: b, disk_layer: {{symlink_root: "{self.link}", subdirectory: b}}}}
        """)
        self.assertEqual((self.texts(made), self.stats()["override_dir_exists"]), ({"x": "6"}, 2))

    def test_set_meanwhile(self) -> None:
        """What operators set while a tree is read counts at once, and after that too."""
        self.tree("one", **{f"k{number}": "5" for number in range(30)})
        made = self.begin_disk()
        self.patch(layers, "STEP", 1)
        self.patch(layers, "MOST_KEYS", 7)
        self.point("one")
        self.clock.advance(INTERVAL)
        for number in range(200):
            self.clock.advance(0)
            made.modify({f"k{number % 30}": f"{number}"})
            self.assertEqual(made.runtime.integer(f"k{number % 30}", 0), number)
            self.assertEqual(self.followed.runtime.integer(f"k{number % 30}", 0), number)
        self.settle()
        last = {number % 30: number for number in range(200)}
        values = {f"k{key}": str(number) for key, number in last.items()}
        self.assertEqual(self.texts(made), {"x": "1", "y": "1", **values})

    def test_replaced_meanwhile(self) -> None:
        """A static layer that is replaced while a tree is read counts at once, below the tree."""
        self.tree("one", x="5", **{f"k{number}": "5" for number in range(30)})
        made = self.begin_disk()
        self.patch(layers, "STEP", 1)
        self.point("one")
        self.clock.advance(INTERVAL)
        message = Bootstrap()
        for number in range(60):
            self.clock.advance(0)
            text = f"""
                - {{name: a, static_layer: {{x: 1, y: {number}, k3: {number}}}}}
                - {{name: b, disk_layer: {{symlink_root: "{self.link}"}}}}
                - {{name: c, admin_layer: {{}}}}
            """
            message.Clear()
            ParseDict({"layered_runtime": {"layers": yaml.safe_load(text)}}, message)
            made.replace_static(message)
            self.assertEqual(number, made.runtime.integer("y", 0))
        self.settle()
        keys = {f"k{number}": "5" for number in range(30)}
        self.assertEqual({"x": "5", "y": "59", **keys}, self.texts(made))

    def test_again(self) -> None:
        """A tree that is replaced while it is read is read once more."""
        self.tree("one", **{f"k{number}": "5" for number in range(30)})
        self.tree("two", x="7")
        made = self.begin_disk()
        self.point("one")
        self.clock.advance(INTERVAL)
        self.clock.advance(0)
        self.swap("two")
        self.assertEqual(self.texts(made), {"x": "7", "y": "1"})

    def test_whole(self) -> None:
        """A change of many keys comes to the worker in small messages and holds as a whole."""
        self.patch(layers, "MOST_KEYS", 7)
        self.tree("one", **{f"k{number}": "5" for number in range(30)})
        self.begin_disk()
        seen: list[int] = []
        self.followed.runtime.watch("k", lambda keys: seen.append(len(keys)))
        self.swap("one")
        self.assertEqual([len(each.values) for each in self.told], [7, 7, 7, 7, 2])
        self.assertEqual((seen, len(self.followed.runtime)), ([30], 32))

    def test_large(self) -> None:
        """A message has one large value at most."""
        self.patch(layers, "MOST_TEXT", 100)
        self.tree("one", **{f"k{number}": "x" * 90 for number in range(3)})
        self.begin_disk()
        self.swap("one")
        self.assertEqual([len(each.values) for each in self.told], [1, 1, 1])

    def test_steps(self) -> None:
        """A step of reading does a file, or compares some keys, and no more."""
        self.tree("one", **{f"k{number}": "5" for number in range(layers.STEP)})
        made = self.begin_disk()
        self.point("one")
        steps = 0
        loading: Iterator[Any] = made._load()
        for _ in loading:
            steps += 1
        self.assertGreater(steps, layers.STEP)

    def test_reads_again_when_set(self) -> None:
        """As in Envoy, setting a value has trees read again, which may have changed in place."""
        self.tree("one", x="5")
        self.point("one")
        made = self.begin_disk()
        self.tree("one", x="6")
        made.modify({"z": "1"})
        self.settle()
        self.assertEqual(self.texts(made)["x"], "6")
        self.assertEqual(self.stats()["load_success"], 3)

    def test_stopped(self) -> None:
        """Once main has stopped no tree is looked after."""
        made = self.begin_disk()
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_folder(self) -> None:
        """Where the root would be in no directory, main cannot begin."""
        message = Bootstrap()
        message.layered_runtime.layers.add(name="a").disk_layer.symlink_root = "/nowhere/at/all"
        made = Layers(message, "", self.store, self.send)
        self.assertRaises(CannotWatch, made.start, self.clock, self.cooperator)
