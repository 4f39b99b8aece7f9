"""Commands and examples of README and docs: each is run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import yaml

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.cluster.balancing.policy import PANIC_KEY
from tcpmesh.testing.child import Child, Process, connectable, free_port, wait_for
from tcpmesh.testing.tls import authority

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
        (command,) = [line for line in block.splitlines() if "tcpmesh validate" in line]
        shutil.copy(self.folder / "envoy.yaml", self.folder / "your-envoy.yaml")
        result = self.run_in(self.folder, command.replace(".venv/bin/", f"{BIN}/"))

        self.assertEqual(
            (0, "configuration 'your-envoy.yaml' OK\n"), (result.returncode, result.stdout)
        )

    def test_your_own(self) -> None:
        """README: so is one after installing, then explained, and served until it is stopped."""
        block = block_with("README.md", "tcpmesh run").replace("/opt/tcpmesh/bin", str(BIN))
        _, validate, explain, run = block.splitlines()
        for command in (validate, explain):
            self.assertEqual(0, self.run_in(self.folder, command).returncode)
        self.check_serves(run)

    def check_serves(self, command: str) -> None:
        """A command serves `envoy.yaml` until it is stopped, with status 0."""
        environ = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        with Process(["sh", "-c", f"exec {command}"], self.folder / "output", environ) as process:
            process.wait(lambda: connectable("127.0.0.1", self.port), "it to listen")
            with socket.create_connection(("127.0.0.1", self.port), 20.0) as client:
                # Nobody is at 127.0.0.2:8080: only who serves closes the connection.
                self.assertEqual(b"", client.recv(1))
            self.assertEqual(0, process.stop(), process.output)

    def test_command_line(self) -> None:
        """docs/operations.md: each command does what the page says of it."""
        old = CONFIG.format(port=self.port, policy="lb_policy").replace("typed_config:", "config:")
        old = re.sub(r" +\"@type.*\n", "", old).replace("name: proxy", "name: envoy.tcp_proxy")
        (self.folder / "old.yaml").write_text(old)
        block = block_with("docs/operations.md", "tcpmesh run envoy.yaml")
        commands = [re.split(r"   +", line)[0] for line in block.splitlines()]
        self.assertEqual(7, len(commands))
        for command in commands:
            if re.search(r"run|-c envoy", command):
                self.check_serves(command)
            else:
                result = self.run_in(self.folder, command)
                self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("typed_config:", (self.folder / "new.yaml").read_text())

    def test_completion(self) -> None:
        """docs/operations.md: the script for a shell goes where the shell looks for it."""
        command = block_with("docs/operations.md", "tcpmesh completion")
        result = self.run_in(self.folder, command.replace("/etc/bash_completion.d", "."))
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn("complete ", (self.folder / "tcpmesh").read_text())

    def test_log_format(self) -> None:
        """docs/operations.md: with the format of the page each line is JSON with a time."""
        text = (ROOT / "docs" / "operations.md").read_text()
        (log_format,) = re.findall(r"```yaml\n(application_log_config:\n.*?)```", text, re.DOTALL)
        with Child(log_format + CONFIG.format(port=self.port, policy="lb_policy")) as proxy:
            proxy.wait_listening(self.port)
            proxy.wait_output("starting workers")
            for line in proxy.output.splitlines():
                event = json.loads(line)
                self.assertEqual({"time", "level", "logger", "message"}, set(event))
                datetime.fromisoformat(event["time"])

    def test_levels(self) -> None:
        """docs/operations.md: each request that sets levels of the log is answered."""
        block = block_with("docs/operations.md", "/logging")
        with Child(ADMIN + CONFIG.format(port=self.port, policy="lb_policy")) as proxy:
            proxy.wait_ready()
            for line in block.splitlines():
                command, _ = re.split(r"   +", line)
                address = (proxy.path / "admin.address").read_text().strip()
                command = command.replace("127.0.0.1:9901", address)
                result = self.run_in(self.folder, f"{command} -sSf")
                self.assertIn("active loggers:", result.stdout)

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
        """docs/admin.md and docs/operations.md: each request to the admin interface is answered;
        the last ends the process.
        """
        own = "".join(blocks("docs/admin.md")).replace("cluster=db", "cluster=web")
        block = own + block_with("docs/operations.md", "quitquitquit")
        config = f"{ADMIN}\n{CONFIG.format(port=self.port, policy='lb_policy')}"
        with Child(config) as proxy:
            proxy.wait_ready()
            (proxy.path / "envoy.yaml").write_text(f"{config}  - {{name: more, type: STATIC}}\n")
            for line in block.splitlines():
                command = re.split(r"   +", line)[0]
                address = (proxy.path / "admin.address").read_text().strip()
                result = self.run_in(
                    self.folder, command.replace("127.0.0.1:9901", address) + " -sSf"
                )
                self.assertEqual(0, result.returncode, result.stdout)
            self.assertEqual(0, proxy.wait_exit())

    def test_tunnelling(self) -> None:
        """configs/tunnelling.yaml and its proxy: a client reaches a server through both, and is
        told so where there is none.
        """
        config = (ROOT / "configs" / "tunnelling.yaml").read_text()
        server = socket.create_server(("127.0.0.1", free_port()))
        self.addCleanup(server.close)
        ports = {"10000": self.port, "10001": free_port(), "9901": 0, "8888": free_port()}
        ports["22"] = server.getsockname()[1]
        for port, other in ports.items():
            config = re.sub(rf"\b{port}\b", str(other), config)
        script = [sys.executable, str(ROOT / "configs" / "connect_proxy.py"), str(ports["8888"])]
        with Process(script, self.folder / "between") as between, Child(config) as proxy:
            between.wait_output("proxy on 127.0.0.1")
            proxy.wait_ready()
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                served, _ = server.accept()
                with served:
                    served.sendall(b"SSH-2.0")
                    self.assertEqual(b"SSH-2.0", client.recv(7))
                self.assertEqual(b"", client.recv(1))
            server.close()
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                self.assertEqual(b"", client.recv(1))
            proxy.wait_output("tunnel_response:502")

    def test_statistics(self) -> None:
        """docs/statistics.md: each request is answered by a proxy that has the settings and the
        sinks of the page.
        """
        page = "docs/statistics.md"
        config = CONFIG.format(port=self.port, policy="lb_policy")
        configuration = "\n".join((ADMIN, *yaml_blocks(page), config))
        with Child(configuration) as proxy:
            proxy.wait_ready()
            address = (proxy.path / "admin.address").read_text().strip()
            for line in block_with(page, "invert_filter").splitlines():
                command = re.split(r"   +", line)[0].replace("127.0.0.1:9901", address)
                result = self.run_in(self.folder, command + " -sSf")
                self.assertEqual(0, result.returncode, result.stdout)
            tagged = self.run_in(self.folder, f"curl -sSf http://{address}/stats/prometheus")
            self.assertIn('envoy_server_live{region="west"} 1', tagged.stdout)

    def test_terminal(self) -> None:
        """docs/operations.md: each look at a running proxy has an answer, those without a terminal
        once, those without an end until somebody has read enough.
        """
        block = block_with("docs/operations.md", "tcpmesh connections --watch")
        config = f"{ADMIN}\n{CONFIG.format(port=self.port, policy='lb_policy')}"
        with Child(config) as proxy:
            proxy.wait_ready()
            admin = f"--admin {(proxy.path / 'admin.address').read_text().strip()}"
            for line in block.splitlines():
                command = re.sub(r" --admin \S+", "", re.split(r"   +", line)[0])
                if command == "tcpmesh top":
                    command += " --once"
                result = self.run_in(self.folder, f"{command} {admin} --interval 0.1 | head -3")
                self.assertRegex(result.stdout, r"\A(tcpmesh  127|  +ID |  +WHEN|\{\n)", command)

    def test_reload(self) -> None:
        """docs/operations.md: each command of a reload has status 0 where nothing is wrong with the
        file, and that for CI has 1 where something is.
        """
        config = f"{ADMIN}\n{CONFIG.format(port=self.port, policy='lb_policy')}"
        with Child(config) as proxy:
            proxy.wait_ready()
            (proxy.path / "envoy.yaml").write_text(f"{config}  - {{name: more, type: STATIC}}\n")
            admin = f" --admin {(proxy.path / 'admin.address').read_text().strip()}"
            for line in block_with("docs/operations.md", "reload --rollback").splitlines():
                result = self.run_in(self.folder, re.split(r"   +", line)[0] + admin)
                self.assertEqual(0, result.returncode, result.stdout)
            (proxy.path / "envoy.yaml").write_text("[]")
            both = block_with("docs/operations.md", "&& tcpmesh reload").strip()
            result = self.run_in(self.folder, f"{both.replace('&&', admin + ' &&')}{admin}")
            self.assertEqual(1, result.returncode, result.stdout)

    def test_validate(self) -> None:
        """docs/configuration.md: a misspelt field is told as the page shows it."""
        block = block_with("docs/configuration.md", "$ tcpmesh validate")
        command, problem, *_ = block.splitlines()
        lines = int(problem.split(":")[1]) - 16
        config = "\n" * lines + CONFIG.format(port=self.port, policy="lb_polcy")
        (self.folder / "envoy.yaml").write_text(config)
        result = self.run_in(self.folder, command.removeprefix("$ "))

        self.assertEqual(1, result.returncode)
        self.assertEqual(problem.split(":", 2)[2], result.stdout.splitlines()[0].split(":", 2)[2])

    def test_explain(self) -> None:
        """docs/configuration.md: the tutorial's file is explained as the page shows it."""
        command, *shown = block_with("docs/configuration.md", "$ tcpmesh explain").splitlines()
        result = self.run_in(ROOT, command.removeprefix("$ "))
        printed = [" ".join(line.split()) for line in result.stdout.splitlines()]

        self.assertEqual(0, result.returncode, result.stdout)
        for line in shown:
            if line.strip() != "...":
                self.assertIn(" ".join(line.split()), printed)

    def test_runtime(self) -> None:
        """docs/runtime.md: each layer of the example shows, and so does each change."""
        first, requests, second = (
            block_with("docs/runtime.md", text) for text in ("twistd", "curl", "mv -T")
        )
        root, here = "/tmp/tcpmesh-runtime", str(self.folder / "tcpmesh-runtime")
        prepare = [line for line in first.splitlines() if not line.startswith("twistd")]
        self.run_in(self.folder, "\n".join(prepare).replace(root, here))
        config = (ROOT / "configs" / "runtime.yaml").read_text().replace(root, here)
        config = config.replace("9901", "0").replace("10000", str(self.port))
        with Child(config) as proxy:
            proxy.wait_ready()
            address = (proxy.path / "admin.address").read_text().strip()

            def values(key: str) -> list[str]:
                entries = json.loads(proxy.admin("/runtime")[1])["entries"]
                found: list[str] = entries[key]["layer_values"]
                return found

            panic, limit = PANIC_KEY, "circuit_breakers.web.default.max_connections"
            self.assertEqual(values(panic), ["30", "20", ""])
            for line, operators in zip(requests.splitlines(), ("", "50", ""), strict=True):
                command = line.replace("127.0.0.1:9901", address) + " -sSf"
                result = self.run_in(self.folder, command)
                self.assertEqual(0, result.returncode, result.stdout)
                self.assertEqual(values(limit), ["1000", "", operators])
            result = self.run_in(self.folder, second.replace(root, here))
            self.assertEqual((0, ""), (result.returncode, result.stdout))
            wait_for(lambda: values(panic) == ["30", "70", ""], "the new files")

    def test_rotation(self) -> None:
        """docs/tls.md: each of the three ways brings the next certificate."""
        names, swap, move, replace = (f"{each}.test" for each in ("old", "swap", "move", "replace"))
        folder = self.folder
        for name, place in ((names, "2026-12"), (swap, "2027-01"), (move, ""), (replace, "r")):
            (folder / place).mkdir(exist_ok=True)
            chain, key = authority().issue(name)
            stem = "tls" if place else "new"
            (folder / place / f"{stem}.crt").write_bytes(chain)
            (folder / place / f"{stem}.key").write_bytes(key)
        (folder / "current").symlink_to("2026-12")

        def here(text: str) -> str:
            return text.replace("/etc/tls", str(folder)).replace("/etc/tcpmesh", str(folder))

        context, secret = (here(each) for each in yaml_blocks("docs/tls.md")[1:3])
        (folder / "own.yaml").write_text(secret)
        downstream = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        typed = {"@type": f"type.googleapis.com/{downstream}", **yaml.safe_load(context)}
        config = yaml.safe_load(CONFIG.format(port=self.port, policy="lb_policy"))
        (chain_message,) = config["static_resources"]["listeners"][0]["filter_chains"]
        chain_message["transport_socket"] = {"name": "tls", "typed_config": typed}
        config["node"] = {"id": "node", "cluster": "cluster"}
        with Child(yaml.safe_dump({**config, **yaml.safe_load(ADMIN)})) as proxy:
            proxy.wait_ready()

            def expect(name: str) -> None:
                def shows() -> bool:
                    (found,) = json.loads(proxy.admin("/certs")[1])["certificates"]
                    names = found["cert_chain"][0]["subject_alt_names"]
                    return bool(names == [{"dns": name}])

                wait_for(shows, f"the certificate of {name}")

            def do(text: str) -> None:
                result = self.run_in(folder, here(block_with("docs/tls.md", text)))
                self.assertEqual((0, ""), (result.returncode, result.stdout))

            expect(names)
            do("mv -T")
            expect(swap)
            for suffix in ("crt", "key"):
                shutil.copy(folder / "current" / f"tls.{suffix}", folder)
            plain = re.sub(" *watched_directory.*", "", secret.replace("/current", ""))
            (folder / "own.new.yaml").write_text(plain)
            do("own.new.yaml")
            wait_for(lambda: proxy.stat("sds.own.update_success") == 2, "the other secret")
            do("new.crt")
            expect(move)
            (folder / "own.new.yaml").write_text(secret.replace("/current", "/r"))
            do("own.new.yaml")
            expect(replace)

    def test_overload(self) -> None:
        """docs/overload.md: the pressure that a file says makes an action active, which the
        statistics and the log tell.
        """
        page, here = "docs/overload.md", str(self.folder / "tcpmesh-pressure")
        first, second = (block_with(page, text) for text in ("twistd", "mv "))
        prepare, serve = first.splitlines()
        config = (ROOT / serve.rpartition(" ")[2]).read_text()
        ports = ((port, "0") for port in ("9901", "10000", "10001"))
        for old, new in (("/tmp/tcpmesh-pressure", here), *ports):
            prepare, config = prepare.replace(old, new), config.replace(old, new)
        self.run_in(self.folder, prepare)
        with Child(config, ["--log-path", "log"]) as proxy:
            proxy.wait_ready()
            address = (proxy.path / "admin.address").read_text().strip()
            command = second.replace("/tmp/tcpmesh-pressure", here)
            result = self.run_in(self.folder, command.replace("127.0.0.1:9901", address))
            self.assertEqual(0, result.returncode, result.stdout)
            action = "overload.envoy.overload_actions.reject_incoming_connections"
            for line in ("overload.by_hand.pressure: 95", f"{action}.active: 1"):
                self.assertIn(line, result.stdout.splitlines())
            shown = block_with(page, "is active now").strip()
            self.assertIn(shown, (proxy.path / "log").read_text())

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
