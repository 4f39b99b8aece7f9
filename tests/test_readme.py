"""What README.md shows is what is printed."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()

#: What is wrong with the README's broken.yaml, which is the tutorial's file otherwise.
BROKEN = {
    "port_value: 80 ": "port_valeu: 80 ",
    "0.25s": "250",
    "lb_policy: ROUND_ROBIN": "lrs_server: {self: {}}",
}


class ReadmeTests(SynchronousTestCase):
    """The page that newcomers read first."""

    def test_problems(self) -> None:
        """The problems that it shows are, letter for letter, those of the tutorial's file with
        these three mistakes.
        """
        text = (ROOT / "configs" / "envoy.yaml").read_text()
        for right, wrong in BROKEN.items():
            text = text.replace(right, wrong, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "broken.yaml"
            path.write_text(text)
            error = self.assertRaises(ConfigError, load, str(path))
            printed = str(error).replace(f"{folder}/", "")

        self.assertEqual(
            re.findall(r"^broken\.yaml:.*$", README, re.MULTILINE), printed.splitlines()
        )

    def test_links(self) -> None:
        """Every file that it links to exists."""
        missing = [
            link
            for link in re.findall(r"\]\(([^):]+)\)", README)
            if not (ROOT / link.partition("#")[0]).exists()
        ]

        self.assertEqual([], missing)
