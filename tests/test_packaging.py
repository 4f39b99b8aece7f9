"""The wheel, as somebody who has nothing but the wheel meets it.

Needs no network: the wheel is built with the setuptools of this environment, and its dependencies
are lent to the new environment from this one.  That `pip install` finds them by itself is tried by
`.ci/run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.assets import SERVED

ROOT = Path(__file__).resolve().parent.parent
NEEDED_TO_BUILD = (
    "pyproject.toml",
    "setup.cfg",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "tcpmesh",
    "twisted",
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end; return what it printed, and raise with it where it failed.

    Without PYTHONPATH, in which trial's worker processes name this tree.
    """
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode:
        raise AssertionError(f"{command} exited with status {result.returncode}:\n{result.stdout}")
    return result.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the tree, so that nothing is left behind in it."""
    source = folder / "source"
    source.mkdir()
    for name in NEEDED_TO_BUILD:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder / "dist",
        cwd=source,
    )
    (wheel,) = (folder / "dist").glob("tcpmesh-*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path) -> Path:
    """A new virtual environment with the wheel and nothing else of its own; return its Python.

    This environment's packages are put on its path as a plain folder, whose own .pth files are not
    read: an editable install of tcpmesh here is not visible there.
    """
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site_packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).strip()
    (Path(site_packages) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


class WheelTests(SynchronousTestCase):
    """What `make wheel` builds."""

    def setUp(self) -> None:
        """Build it once for each test, in a folder of its own."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-packaging-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.wheel = build_wheel(self.folder)

    def test_wheel(self) -> None:
        """It holds every module, the files of the live page, the newer schema, both plugins and the
        licence, no __init__ for Twisted, no cache and no tests.
        """
        with zipfile.ZipFile(self.wheel) as archive:
            names = set(archive.namelist())

        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tcpmesh").rglob("*.py")}
        modules |= {f"tcpmesh/admin/assets/{name}" for name in ("home.html", *SERVED)}
        self.assertEqual(set(), modules - names)
        self.assertLessEqual(
            {
                "twisted/plugins/tcpmesh_plugin.py",
                "twisted/plugins/tcpmesh_demoapp_plugin.py",
                "tcpmesh/py.typed",
                "tcpmesh/config/schema/envoy.binpb",
            },
            names,
        )
        self.assertEqual(["LICENSE"], [Path(name).name for name in names if "LICENSE" in name])
        stray = {
            name
            for name in names
            if name.split("/")[0] not in ("tcpmesh", "twisted") and ".dist-info/" not in name
        }
        stray |= {
            name
            for name in names
            if name.startswith("twisted/") and not name.endswith("_plugin.py")
        }
        self.assertEqual(set(), stray)

    def test_twistd_lists_the_plugins(self) -> None:
        """In an environment that has the wheel, `twistd --help` lists tcpmesh and tcpmesh-demoapp,
        and both print their help; so does the console script, which is the module too.
        """
        python = make_environment(self.folder, self.wheel)
        twistd = (python, "-c", "from twisted.scripts.twistd import run; run()")

        listed = {
            line.split()[0]
            for line in run(*twistd, "--help", cwd=self.folder).splitlines()
            if line.strip()
        }
        self.assertLessEqual({"tcpmesh", "tcpmesh-demoapp"}, listed)
        self.assertIn("--config-path", run(*twistd, "tcpmesh", "--help", cwd=self.folder))
        self.assertIn("--interface", run(*twistd, "tcpmesh-demoapp", "--help", cwd=self.folder))
        for script in ((python.parent / "tcpmesh",), (python, "-m", "tcpmesh")):
            self.assertIn("--config-path", run(*script, "run", "--help", cwd=self.folder))
        where = run(python, "-c", "import tcpmesh; print(tcpmesh.__file__)", cwd=self.folder)
        self.assertTrue(where.startswith(str(self.folder)), where)
