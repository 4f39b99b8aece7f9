"""Where fields stand."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import ARGUMENT, load
from tcpmesh.config.text.source_map import SourceMap
from tcpmesh.config.text.yaml_text import parse_yaml
from tests.config.texts import GOOD, load_text


def places(text: str) -> SourceMap:
    """The places of a text."""
    return SourceMap([parse_yaml(text, "t.yaml")])


class PlacesTests(SynchronousTestCase):
    """The place of a path."""

    def test_scalar(self) -> None:
        """A scalar is at its value, through lists and typed_config alike."""
        at = load_text(GOOD).places.at

        self.assertEqual(
            f"{ARGUMENT}:14:20",
            str(
                at(
                    "static_resources",
                    "listeners",
                    0,
                    "filter_chains",
                    0,
                    "filters",
                    0,
                    "typed_config",
                    "cluster",
                )
            ),
        )
        self.assertEqual(f"{ARGUMENT}:17:11", str(at("static_resources", "clusters", 0, "name")))

    def test_container(self) -> None:
        """A mapping or list is at its key, an element of a list at itself."""
        at = load_text(GOOD).places.at

        self.assertEqual(
            f"{ARGUMENT}:20:5", str(at("static_resources", "clusters", 0, "load_assignment"))
        )
        self.assertEqual(f"{ARGUMENT}:17:5", str(at("static_resources", "clusters", 0)))

    def test_missing(self) -> None:
        """What is not written is at the innermost thing around it that is."""
        self.assertEqual("t.yaml:2:3", str(places("a:\n- b: 1\n").at("a", 0, "c", "d")))
        self.assertEqual("t.yaml:1:1", str(places("a: 1\n").at("x")))

    def test_spelling_and_flattening(self) -> None:
        """camelCase keys are found, and nested lists count through."""
        at = places("fooBar: 1\nlist: [[x], [y, z]]\none: w\n").at

        self.assertEqual(9, at("foo_bar").column)
        self.assertEqual(17, at("list", 2).column)
        self.assertEqual("t.yaml:3:6", str(at("one", 0)))

    def test_two_sources(self) -> None:
        """Elements that the argument appends have their place there, and its scalars override."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "envoy.yaml"
            path.write_text(GOOD)
            loaded = load(str(path), "static_resources:\n  clusters: {name: more}\nnode: {id: x}\n")

        self.assertEqual(
            ["web", "more"],
            [cluster.name for cluster in loaded.bootstrap.static_resources.clusters],
        )
        self.assertEqual(
            f"{path}:17:11", str(loaded.places.at("static_resources", "clusters", 0, "name"))
        )
        self.assertEqual(
            f"{ARGUMENT}:2:20", str(loaded.places.at("static_resources", "clusters", 1, "name"))
        )
