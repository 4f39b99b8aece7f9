"""Which modules of Envoy's schema are found, and in what state."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.schema.finder import FINDER, SchemaFinder
from tcpmesh.config.schema.loaders import FilledLoader, MadeLoader
from tests.config.schema.process import printed

BANDWIDTH = "envoy.extensions.filters.network.tcp_bandwidth_limit"
MADE = f"{BANDWIDTH}.v3.tcp_bandwidth_limit_pb2"
FILLED = "envoy.config.core.v3.health_check_pb2"
WHOLE = "envoy.extensions.filters.network.echo.v3.echo_pb2"


class FindTests(SynchronousTestCase):
    """What is asked for, and what is answered."""

    def find(self, name: str) -> ModuleSpec | None:
        """Ask for a module or a package below one that is there."""
        path = importlib.import_module(name.rpartition(".")[0]).__path__
        return FINDER.find_spec(name, path)

    def test_gaps(self) -> None:
        """A module with gaps is found where it is, and loaded with them filled."""
        spec = self.find(FILLED)
        assert spec is not None
        assert spec.origin is not None
        self.assertIsInstance(spec.loader, FilledLoader)
        self.assertTrue(spec.origin.endswith("health_check_pb2.py"))

    def test_no_gaps(self) -> None:
        """A module without gaps, and what is none of Envoy's, is left to others."""
        self.assertIsNone(self.find(WHOLE))
        self.assertIsNone(self.find("google.protobuf.any_pb2"))
        self.assertIsNone(FINDER.find_spec("contrib", None))
        self.assertIsNone(FINDER.find_spec("envoy", None))

    def test_missing(self) -> None:
        """A module that nobody has is made, as are the packages around it."""
        spec, around = self.find(MADE), self.find(BANDWIDTH)
        assert spec is not None
        assert around is not None
        self.assertIsInstance(spec.loader, MadeLoader)
        self.assertEqual([], around.submodule_search_locations)

    def test_of_others(self) -> None:
        """Where another package has such a module, as a newer xds-protos may, that one is taken."""
        path = importlib.import_module(f"{BANDWIDTH}.v3").__path__
        self.patch(sys, "meta_path", [*sys.meta_path, Newer()])
        spec = FINDER.find_spec(MADE, path)

        assert spec is not None
        self.assertEqual("newer", spec.origin)

    def test_nonsense(self) -> None:
        """What neither the package nor Envoy has stays unknown."""
        self.assertRaises(ImportError, importlib.import_module, "envoy.nonsense.v3.nonsense_pb2")


class Newer:
    """Finds every module, in a package that does not show its code."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec:
        """See `importlib.abc.MetaPathFinder`."""
        return ModuleSpec(name, None, origin="newer")


class EarlyTests(SynchronousTestCase):
    """Modules that were imported before tcpmesh."""

    def test_none(self) -> None:
        """Modules that were found by the finder, or have no gaps, are never too early."""
        for name in (FILLED, WHOLE):
            importlib.import_module(name)
        self.assertEqual([], SchemaFinder(list(sys.modules)).too_early())

    def test_named(self) -> None:
        """One with gaps is named, and a configuration is refused with what to do about it, not with
        an unknown field.
        """
        lines = printed(
            f"import {FILLED}, {WHOLE}\n"
            "from tcpmesh.config.load import load\n"
            "from tcpmesh.config.text.problems import ConfigError\n"
            "try: load(config_yaml='{}')\n"
            "except ConfigError as error: print(error.problems[0])\n"
        )
        self.assertEqual(
            [
                "--config-yaml: import tcpmesh first: envoy.config.core.v3.socket_option_pb2 and 3 "
                "more were imported before it, without fields that Envoy 1.40 has"
            ],
            lines,
        )

    def test_costs_nothing(self) -> None:
        """Who imports tcpmesh and no message has imported nothing of protobuf."""
        program = "import sys, tcpmesh; print(any(n.startswith('google') for n in sys.modules))"
        self.assertEqual(["False"], printed(program))

    def test_imported_anew(self) -> None:
        """A process that forgets tcpmesh and imports it again, as reloaders and coverage do, has
        one finder, and finds what it found before.
        """
        lines = printed(
            "import sys, tcpmesh\n"
            "for name in [each for each in sys.modules if each.startswith('tcpmesh')]:\n"
            "    del sys.modules[name]\n"
            "import tcpmesh\n"
            "from tcpmesh.config.schema.finder import FINDER\n"
            "print([type(each).__name__ for each in sys.meta_path].count('SchemaFinder'))\n"
            f"import {FILLED}, {MADE}\n"
            "from tcpmesh.config.load import load\n"
            "print(FINDER in sys.meta_path, load(config_yaml='{}').bootstrap.ByteSize())\n"
        )
        self.assertEqual(["1", "True 0"], lines)
