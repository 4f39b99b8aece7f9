"""The command: plays the attacks, and says for each what the proxy suffered by it.

    python -m tests.attacks [SCENE | SCENE/ATTACK] ...

Its status is 1 where a figure was not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tcpmesh.admin.channel import GRACE
from tcpmesh.testing.child import Child, wait_for
from tests.attacks import (
    admin,
    admin_live,
    checks_http1,
    checks_http2,
    clients,
    dns_answers,
    grpc_logs,
    hellos,
    hosts,
    logs,
    runtime,
    texts,
    tls,
    tls_upstream,
    upstreams,
)
from tests.attacks.attack import MIB, Attack, Bootstrap, Figures, Limits, Scene, Target

SCENES: Mapping[str, Scene] = {
    **admin.SCENES,
    **admin_live.SCENES,
    **checks_http1.SCENES,
    **checks_http2.SCENES,
    **dns_answers.SCENES,
    **grpc_logs.SCENES,
    **hellos.SCENES,
    **hosts.SCENES,
    **logs.SCENES,
    **runtime.SCENES,
    **clients.SCENES,
    **tls.SCENES,
    **tls_upstream.SCENES,
    **upstreams.SCENES,
}

CALM = 0.5
"""Seconds after an attack before it is looked at what is left."""

FEW = 4
"""Descriptors that may come and go."""

PATIENCE = 90.0
"""Seconds that a proxy may take to start: the largest tables take a while."""

BUSY = 5.0
"""Percent of the time that the proxy waits for a processor on a machine that has other work."""

HEAD = (
    f"{'attack':34}{'echo ms':>9}{'new ms':>8}{'wall ms':>9}{'echoes':>8}"
    f"{'peak MiB':>10}{'kept':>6}{'fds':>5}"
)


class Program:
    """A program of ours beside the proxy, which answers lines with lines."""

    def __init__(self, stack: ExitStack, module: str, *arguments: object) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", f"tests.attacks.{module}", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        stack.callback(self._process.kill)
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def ask(self) -> Any:
        """What it answers to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return json.loads(self.line())


class Proxy:
    """The proxy under attack, with an echo behind it and a probe before it."""

    def __init__(self, stack: ExitStack, scene: Scene) -> None:
        echo = Program(stack, "echo")
        bootstrap = Bootstrap(int(echo.line()))
        self.attacks = list(scene(stack, bootstrap))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            if bootstrap.open_files:  # a child inherits it
                resource.setrlimit(resource.RLIMIT_NOFILE, (bootstrap.open_files, hard))
            self._child = stack.enter_context(Child(bootstrap.text()))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wait_for(self._ready, "the proxy to be ready", PATIENCE)
        found = re.findall(r"^(\w+)::.*:(\d+)$", self._child.admin("/listeners")[1], re.MULTILINE)
        ports = {name: int(port) for name, port in found}
        ports["admin"] = int((self._child.path / "admin.address").read_text().rpartition(":")[2])
        self._target = Target(ports, self._child.pid)
        self._probe = Program(stack, "probe", ports["probe"], self._child.pid, echo.pid)
        self._read = 0

    def _ready(self) -> bool:
        try:
            _status(self._child.pid, "VmRSS")
            return self._child.admin("/ready")[0] == 200
        except OSError:
            return False
        except Ended:
            raise AssertionError(self._child.output) from None

    def suffer(self, attack: Attack) -> Figures:
        """Play an attack.

        @raise Ended: the proxy has not survived it.
        """
        pid = self._child.pid
        time.sleep(0.3)
        self._probe.ask()
        before, opened = _status(pid, "VmRSS"), _descriptors(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the highest memory so far is that of now
        told = attack.strike(self._target, attack.seconds)
        seen = self._probe.ask()
        peak = _status(pid, "VmHWM") - before
        left = self._left(opened, attack.limits)
        return Figures(
            seen["echoes"],
            seen["longest"],
            seen["longest_fresh"],
            seen["longest_wall"],
            seen["lost"],
            seen["waited"] > BUSY,
            peak,
            _status(pid, "VmRSS") - before,
            left,
            (*((str(told),) if told else ()), *self._logged()),
        )

    def _left(self, before: int, limits: Limits) -> int:
        """Descriptors more than before, once the connections of the attack had time to end."""
        start = time.monotonic()
        time.sleep(CALM)
        while (more := _descriptors(self._child.pid) - before) > FEW:
            waited = time.monotonic() - start
            if waited > 10 * CALM or (waited > 2 * GRACE and more <= limits.descriptors):
                break
            time.sleep(0.1)
        return more

    def _logged(self) -> Iterator[str]:
        output = self._child.output
        new, self._read = output[self._read :], len(output)
        if "Traceback" in new or "Unhandled" in new:
            lines = new[new.find("Traceback") :].splitlines()
            yield "a traceback: " + next((line for line in lines if "Error" in line), lines[0])


class Ended(Exception):
    """The proxy is no more."""


def _status(pid: int, name: str) -> int:
    """Bytes, by a name of `/proc/PID/status`.

    @raise Ended: the process has none.
    """
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise Ended
    return int(found[1]) * 1024


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def row(name: str, seen: Figures, flaws: Sequence[str]) -> str:
    """A line of the table."""
    return (
        f"{name:34}{seen.longest:9.1f}{seen.longest_fresh:8.1f}{seen.longest_wall:9.1f}"
        f"{seen.echoes:8}{seen.peak / MIB:10.1f}{seen.kept / MIB:6.1f}{seen.descriptors:5}  "
        f"{'busy ' if seen.is_busy else ''}{'; '.join(flaws) or 'ok'}"
    )


def play(name: str, scene: Scene, wanted: Sequence[str]) -> int:
    """Play the attacks of a scene that are wanted; how many were not withstood."""
    failed = 0
    with ExitStack() as stack:
        try:
            proxy = Proxy(stack, scene)
        except AssertionError as e:
            print(f"{name:34}  the proxy did not start: {e}")
            return 1
        for attack in proxy.attacks:
            full_name = f"{name}/{attack.name}"
            if wanted and not {name, full_name} & set(wanted):
                continue
            try:
                seen = proxy.suffer(attack)
            except Ended:
                print(f"{full_name:34}  the proxy has ended", flush=True)
                return failed + 1
            flaws = seen.flaws(attack)
            failed += bool(flaws)
            print(row(full_name, seen, flaws), flush=True)
    return failed


def show(names: Iterable[str]) -> None:
    """Say what the attacks of some scenes are."""
    for name in names:
        with ExitStack() as stack:
            for attack in SCENES[name](stack, Bootstrap(9)):
                print(f"{f'{name}/{attack.name}':34}{attack.what}")


def main(arguments: Sequence[str]) -> int:
    """The command; its status."""
    names = [*SCENES, texts.SCENE]
    parser = argparse.ArgumentParser(prog="make attack", description="Attacks on a proxy.")
    parser.add_argument("names", nargs="*", help=f"a scene ({', '.join(names)}) or scene/attack")
    parser.add_argument("--list", action="store_true", help="only say what they are")
    options = parser.parse_args(arguments)
    wanted = options.names
    unknown = [each for each in wanted if each.partition("/")[0] not in names]
    if unknown:
        parser.error(f"there is no scene {unknown[0]!r}: {', '.join(names)}")
    chosen = {each.partition("/")[0] for each in wanted} or set(names)
    if options.list:
        show(name for name in SCENES if name in chosen)
        return 0
    print(HEAD, flush=True)
    failed = sum(play(name, scene, wanted) for name, scene in SCENES.items() if name in chosen)
    if texts.SCENE in chosen:
        failed += texts.play(wanted)
    print(f"{failed} not withstood" if failed else "all withstood")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
