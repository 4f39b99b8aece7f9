"""Versions: ours, Envoy's, and those of what we stand on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

import tcpmesh
from tests.project.files import ROOT, lines_of, setup
from tools.lowest import Unbounded, constraints, lowest


def own(*names: str) -> str:
    """The text of files of this tree, one after the other."""
    return "".join((ROOT / name).read_text(encoding="utf-8") for name in names)


class VersionTests(SynchronousTestCase):
    """Our own."""

    def test_one_source(self) -> None:
        """It is written once, in tcpmesh/version.py; what is built has it from there."""
        self.assertEqual("attr: tcpmesh.version.__version__", setup()["metadata"]["version"])
        reader = import_module("setuptools.config.setupcfg").read_configuration
        self.assertEqual(tcpmesh.__version__, reader(ROOT / "setup.cfg")["metadata"]["version"])
        self.assertNotRegex(
            own("README.md"), rf"(?<![\d.]){re.escape(tcpmesh.__version__)}(?![\d.])"
        )

    def test_form(self) -> None:
        """It has the three numbers of Semantic Versioning."""
        self.assertRegex(tcpmesh.__version__, r"\A\d+\.\d+\.\d+\Z")


class EnvoyTests(SynchronousTestCase):
    """The line of docs/versions.md that names Envoy's."""

    def test_envoy(self) -> None:
        """Its Envoy is that of the published benchmarks, its schema setup.cfg's lower bound."""
        line = re.search(
            r"^\*\*Behaviour is judged by Envoy ([\d.]+); .* `xds-protos` ([\d.]+) or newer",
            own("docs/versions.md"),
            re.MULTILINE,
        )
        assert line is not None
        measured = json.loads(own("docs/benchmarks/results.json"))["facts"]["envoy"]
        self.assertEqual(line[1], measured.rpartition(".")[0])
        self.assertIn(f"xds-protos>={line[2]}", lines_of(setup()["options"]["install_requires"]))


class LowestTests(SynchronousTestCase):
    """tools/lowest.py, by which `make lowest` knows what to install."""

    def test_own(self) -> None:
        """Each of our requirements, those of every extra too, has a lower bound."""
        extras = list(setup()["options.extras_require"])

        for constraint in constraints(setup(), extras):
            self.assertRegex(constraint, r"\A[\w.-]+==[\d.]+(;.*)?\Z")

    def test_constraints(self) -> None:
        """The packages of install_requires come first, then those of the extras asked for."""
        parser = ConfigParser()
        parser.read_string(
            "[options]\ninstall_requires =\n    Twisted>=24.10\n"
            "[options.extras_require]\ntest =\n    build>=1.0\n"
            "check =\n    tcpmesh[test]\n    ruff>=0.9\n"
        )

        self.assertEqual(["Twisted==24.10"], constraints(parser, []))
        self.assertEqual(
            ["Twisted==24.10", "ruff==0.9", "build==1.0"], constraints(parser, ["check", "test"])
        )
        self.assertRaises(KeyError, constraints, parser, ["docs"])

    def test_unbounded(self) -> None:
        """A requirement without a lower bound, or with more than one, is an error that shows it."""
        for requirement in ("Twisted", "Twisted<30", "Twisted>=24.10,<30", "Twisted==24.10"):
            error = self.assertRaises(Unbounded, lowest, requirement)
            self.assertIn(requirement, str(error))

    def test_program(self) -> None:
        """Run as a program it prints a constraint for each package, one a line."""
        command = [sys.executable, str(ROOT / "tools" / "lowest.py"), "test"]
        printed = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout

        self.assertEqual(constraints(setup(), ["test"]), printed.splitlines())

    def test_reasons(self) -> None:
        """docs/dependencies.md names each package with the lower bound that setup.cfg has."""
        page = own("docs/dependencies.md")
        for requirement in lines_of(setup()["options"]["install_requires"]):
            package, _, version = requirement.partition(">=")
            self.assertIn(f"\n| {package} | {version} | ", page)
        for extra, text in setup()["options.extras_require"].items():
            for requirement in lines_of(text):
                package = requirement.partition(">=")[0]
                if "[" not in package:
                    self.assertRegex(
                        page, rf"\n\| {extra} \| [^|]*\b{re.escape(package)}\b[^|]* \| "
                    )
