"""Commands and examples of README and docs: each is run as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

CONFIG = """
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: web
  clusters:
  - name: web
    type: STATIC
    {policy}: ROUND_ROBIN
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.2, port_value: 8080}}}}}}
"""

ADMIN = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}"


def blocks(page: str) -> list[str]:
    """The blocks of a page that show commands or what they print, not a language."""
    text = (ROOT / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for language, block in found if language in ("", "sh", "console")]


def yaml_blocks(page: str) -> list[str]:
    """The blocks of a page that show configurations."""
    return re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def block_with(page: str, text: str) -> str:
    """The block of a page that has a text."""
    return next(block for block in blocks(page) if text in block)


class DocsTests(SynchronousTestCase):
    """What a reader types."""

    def setUp(self) -> None:
        """A folder with a good envoy.yaml, readable by everybody."""
        self.folder = Path(tempfile.mkdtemp(prefix="tcpmesh-docs-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.port = free_port()
        config = CONFIG.format(port=self.port, policy="lb_policy")
        (self.folder / "envoy.yaml").write_text(config)

    def run_in(self, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, with the commands of this installation."""
        return subprocess.run(
            ["sh", "-ec", command],
            cwd=folder,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def test_judge_your_own(self) -> None:
        """README: a file of one's own is judged by the third of its first commands."""
        block = block_with("README.md", "make run")
        (command,) = [line for line in block.splitlines() if "--mode validate" in line]
        shutil.copy(self.folder / "envoy.yaml", self.folder / "your-envoy.yaml")
        result = self.run_in(self.folder, command.replace(".venv/bin/", f"{BIN}/"))

        self.assertEqual(
            (0, "configuration 'your-envoy.yaml' OK\n"), (result.returncode, result.stdout)
        )

    def check_detached(self, page: str, folders: dict[str, Path]) -> None:
        """Run the block that detaches the proxy, up to its last line, which ends it again."""
        if os.geteuid() != 0:
            raise SkipTest("needs root, as the page says")
        block = block_with(page, "--pidfile").replace("/opt/tcpmesh/bin", str(BIN))
        for there, here in folders.items():
            block = block.replace(there, str(here))
        *start, end = block.replace("\\\n", " ").splitlines()
        result = self.run_in(self.folder, "\n".join(start))
        self.assertEqual((0, ""), (result.returncode, result.stdout))
        pidfile = next(self.folder.rglob("tcpmesh.pid"))
        pid = int(pidfile.read_text())
        try:
            owner = Path(f"/proc/{pid}").stat().st_uid
        finally:
            ended = self.run_in(self.folder, end)
        self.assertNotEqual(0, owner)
        self.assertEqual(0, ended.returncode, ended.stdout)
        wait_for(lambda: not pidfile.exists(), "the pid file to go")

    def test_in_production(self) -> None:
        """README: the proxy detaches as another user, and ends when told to."""
        self.check_detached("README.md", {"/srv/tcpmesh": self.folder})

    def test_without_systemd(self) -> None:
        """docs/operations.md: the same with folders of its own."""
        run = self.folder / "run"
        self.check_detached(
            "docs/operations.md", {"/run/tcpmesh": run, "/etc/tcpmesh": self.folder}
        )

    def test_admin(self) -> None:
        """docs/operations.md: each request to the admin interface is answered; the last ends the
        process.
        """
        block = block_with("docs/operations.md", "quitquitquit")
        with Child(ADMIN + CONFIG.format(port=self.port, policy="lb_policy")) as proxy:
            proxy.wait_ready()
            for line in block.splitlines():
                command = re.split(r"   +", line)[0]
                address = (proxy.path / "admin.address").read_text().strip()
                result = self.run_in(
                    self.folder, command.replace("127.0.0.1:9901", address) + " -sSf"
                )
                self.assertEqual(0, result.returncode, result.stdout)
            self.assertEqual(0, proxy.wait_exit())

    def test_validate(self) -> None:
        """docs/configuration.md: a misspelt field is told as the page shows it."""
        block = block_with("docs/configuration.md", "$ twistd tcpmesh --mode validate")
        command, problem, *_ = block.splitlines()
        lines = int(problem.split(":")[1]) - 16
        config = "\n" * lines + CONFIG.format(port=self.port, policy="lb_polcy")
        (self.folder / "envoy.yaml").write_text(config)
        result = self.run_in(self.folder, command.removeprefix("$ "))

        self.assertEqual(1, result.returncode)
        self.assertEqual(problem.split(":", 2)[2], result.stdout.splitlines()[0].split(":", 2)[2])

    def test_explain(self) -> None:
        """docs/configuration.md: the tutorial's file is explained as the page shows it."""
        command, *shown = block_with("docs/configuration.md", "--mode explain").splitlines()
        result = self.run_in(ROOT, command.removeprefix("$ "))
        printed = [" ".join(line.split()) for line in result.stdout.splitlines()]

        self.assertEqual(0, result.returncode, result.stdout)
        for line in shown:
            if line.strip() != "...":
                self.assertIn(" ".join(line.split()), printed)

    def test_migrate(self) -> None:
        """docs/migrating.md: the old file there is migrated as the page shows it, and what comes
        of it is right.
        """
        page = "docs/migrating.md"
        (self.folder / "old.yaml").write_text(yaml_blocks(page)[0])
        command, *shown = block_with(page, "--diff").splitlines()
        result = self.run_in(self.folder, command.removeprefix("$ "))
        self.assertEqual((0, shown), (result.returncode, result.stdout.splitlines()))

        result = self.run_in(self.folder, block_with(page, "> new.yaml"))
        self.assertEqual(0, result.returncode, result.stdout)
        result = self.run_in(self.folder, "tcpmesh validate new.yaml")
        self.assertEqual(0, result.returncode, result.stdout)

        in_place, check, output = block_with(page, "--in-place").splitlines()
        result = self.run_in(self.folder, f"! {check} && {output} && {in_place} && {check}")
        self.assertEqual(0, result.returncode, result.stdout)
