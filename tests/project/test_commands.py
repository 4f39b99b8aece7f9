"""The commands that pages, workflows and hooks name exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from twisted.trial.unittest import SynchronousTestCase

from tests.project.files import MAKEFILE, ROOT, make_calls, make_targets, setup

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
)

HOOKS = ROOT / ".pre-commit-config.yaml"

IMPORTED = re.compile(r"(?:python3? -m|bin/trial) ((?:tests|tcpmesh|benchmarks)(?:\.\w+)*)")
"""A module or a test of ours that a command names."""

TOOL = re.compile(r"\.venv/bin/([\w-]+)")


def read(path: Path) -> Any:
    """A YAML file as plain values."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: Any) -> list[dict[str, Any]]:
    """All steps of all jobs of a workflow."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def find(name: str) -> object:
    """What a dotted name stands for: a module, or a class or method in one.

    :raise ImportError: there is no such module.
    :raise AttributeError: the module has no such name.
    """
    parts = name.split(".")
    depth, found = 1, importlib.import_module(parts[0])
    while depth < len(parts) and importlib.util.find_spec(".".join(parts[: depth + 1])):
        depth += 1
        found = importlib.import_module(".".join(parts[:depth]))
        if not hasattr(found, "__path__"):
            break
    return reduce(getattr, parts[depth:], found)


class MakeTests(SynchronousTestCase):
    """The Makefile."""

    def test_help(self) -> None:
        """`make` tells of each target that is no file, and of no other."""
        phony = set(MAKEFILE.partition(".PHONY:")[2].replace("\\\n", " ").splitlines()[0].split())
        told = set(re.findall(r"@echo 'make ([a-z-]+) ", MAKEFILE))

        self.assertEqual(phony - {"help"}, told)
        self.assertEqual({target for target in make_targets() if target[0] != "."}, phony)

    def test_pages(self) -> None:
        """Each target that a page names exists."""
        for page in PAGES:
            self.assertEqual(
                set(), make_calls(page.read_text(encoding="utf-8")) - make_targets(), page
            )

    def test_told_of_a_call(self) -> None:
        """A call of make may have variables before its target; prose with the word is none."""
        text = "\nmake PYTHON=python3.12 OPTIONS='-a 3' bench\nall make sense; `make`, `make soak`"

        self.assertEqual({"bench", "soak"}, make_calls(text))


class PageTests(SynchronousTestCase):
    """What pages tell a reader to run, and where they send one."""

    def test_names(self) -> None:
        """Each module and each test that a command on a page names exists."""
        names = {
            name for page in PAGES for name in IMPORTED.findall(page.read_text(encoding="utf-8"))
        }

        self.assertIn("tests.test_layers.LayerTests.test_imports_point_down", names)
        for name in names:
            find(name)

    def test_no_such_name(self) -> None:
        """A name that does not exist is found out, be it of a module, a class or a method."""
        self.assertRaises(ImportError, find, "tests_of_old.test_layers")
        self.assertRaises(AttributeError, find, "tests.test_nothing")
        self.assertRaises(AttributeError, find, "tests.test_layers.LayerTests.test_nothing")

    def test_links(self) -> None:
        """Each file that a page links to exists."""
        missing = [
            f"{page.relative_to(ROOT)}: {link}"
            for page in PAGES
            for link in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
            if not (page.parent / link).exists()
        ]

        self.assertEqual([], missing)

    def test_subjects(self) -> None:
        """The subjects that CONTRIBUTING.md shows have the form that it asks for."""
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Commits")[2]
        shown = text.split("```")[1].split("\n")[1:-1]

        self.assertEqual(2, len(shown))
        for subject in shown:
            self.assertRegex(subject, r"\A[a-z_]+: [a-z`].*[^.]\Z")


class WorkflowTests(SynchronousTestCase):
    """.github/workflows."""

    def test_form(self) -> None:
        """Each has a name, events, permissions to read only, and jobs that end by themselves."""
        self.assertEqual(
            ["nightly.yml", "release.yml", "tests.yml"], [path.name for path in WORKFLOWS]
        )
        for workflow in map(read, WORKFLOWS):
            # YAML 1.1 takes the key `on` for a truth value.
            self.assertLessEqual({"name", True, "permissions", "jobs"}, set(workflow))
            self.assertEqual({"contents": "read"}, workflow["permissions"])
            for job in workflow["jobs"].values():
                self.assertIn("timeout-minutes", job)

    def test_targets(self) -> None:
        """They call only make targets and scripts that exist."""
        called = set()
        for path in WORKFLOWS:
            text = path.read_text(encoding="utf-8")
            called |= make_calls(text)
            for script in re.findall(r"\b(?:tools/\w+\.py|\.ci/\w+)", text):
                self.assertTrue((ROOT / script).exists(), script)

        self.assertEqual(set(), called - make_targets())
        self.assertLessEqual(
            {"test", "lowest", "coverage", "apidocs", "fuzz", "explore", "soak", "dist", "sbom"},
            called,
        )

    def test_pythons(self) -> None:
        """Tests must pass on the Pythons of setup.cfg's classifiers, with old and new Twisted."""
        matrix = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"][
            "matrix"
        ]
        promised = re.findall(
            r":: Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.MULTILINE
        )

        self.assertEqual(promised, matrix["python"])
        self.assertEqual(["lowest", "latest"], matrix["twisted"])
        self.assertEqual(f">={promised[0]}", setup()["options"]["python_requires"])
        self.assertEqual(
            [True] * len(matrix["include"]), [more["early"] for more in matrix["include"]]
        )

    def test_no_passwords(self) -> None:
        """No workflow uses a stored secret: releases are published as a trusted publisher."""
        for path in WORKFLOWS:
            self.assertNotIn("secrets.", path.read_text(encoding="utf-8"), path)

    def test_actions(self) -> None:
        """Each step runs a command or an action of a named version."""
        for path in WORKFLOWS:
            for step in steps(read(path)):
                self.assertTrue(
                    "run" in step
                    or re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"]),
                    step,
                )


class HookTests(SynchronousTestCase):
    """.pre-commit-config.yaml."""

    def test_hooks(self) -> None:
        """Hooks run tools that the extra `check` brings, and what `make check` runs too."""
        (repository,) = read(HOOKS)["repos"]
        brought = (
            setup()["options.extras_require"]["check"] + setup()["options"]["install_requires"]
        )

        self.assertEqual("local", repository["repo"])
        for hook in repository["hooks"]:
            (tool,) = TOOL.findall(hook["entry"])
            package = {"trial": "Twisted"}.get(tool, tool)
            self.assertIn(f"\n{package}>=", brought)
            command = hook["entry"].removeprefix(".venv/bin/").partition(" --")[0]
            self.assertIn(command, MAKEFILE)


class FormTests(SynchronousTestCase):
    """The forms of .github."""

    def test_forms(self) -> None:
        """Each form for an issue says what it is for, and asks for what it cannot do without."""
        forms = [
            read(path)
            for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
            if path.stem != "config"
        ]

        self.assertEqual(2, len(forms))
        for form in forms:
            self.assertLessEqual({"name", "description", "body"}, set(form))
            self.assertTrue(
                any(part.get("validations", {}).get("required") for part in form["body"])
            )

    def test_owners(self) -> None:
        """CODEOWNERS has an owner for everything, and each folder that it names exists."""
        text = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8")
        lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]

        self.assertEqual("*", lines[0][0])
        for pattern, *owners in lines:
            self.assertTrue(all(owner.startswith("@") for owner in owners), owners)
            self.assertTrue(pattern == "*" or (ROOT / pattern.strip("/")).is_dir(), pattern)


class ArchiveTests(SynchronousTestCase):
    """The source archive."""

    def test_whole(self) -> None:
        """MANIFEST.in takes along each folder and file of the root under version control."""
        listing = subprocess.run(
            ["git", "ls-files"],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        tracked = {name.split("/")[0] for name in listing.stdout.splitlines()}
        manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").split()
        markdown = {path.name for path in ROOT.glob("*.md")}
        # What setuptools takes by itself: its own files, and the packages.
        own = {"setup.cfg", "pyproject.toml", "MANIFEST.in", "tcpmesh", "twisted"}

        self.assertEqual(set(), tracked - set(manifest) - markdown - own)
