"""What a start costs: `python -m benchmarks.start`.

The CPU time, of the process and all below it, from `twistd tcpmesh` with the demo's file until
`/ready` says that it serves; with one worker, and with two.  Other checkouts, named by their
folders, are started in turns with this one, each by the `.venv` that it has: absolute figures move
with the machine's hour, what one is of the other does not.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.command import status_of
from benchmarks.process import Child, Ports, wait_until

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "configs" / "demo.yaml"
CONCURRENCIES = (1, 2)
_SECONDS = 30.0


def own_ports(text: str, ports: Ports) -> tuple[str, int]:
    """The demo's file with ports that nobody has; that of the admin interface."""
    proxy, admin = ports.take(), ports.take()
    for port, own in ((10000, proxy), (9901, admin)):
        text = text.replace(f"port_value: {port} ", f"port_value: {own} ")
    return text, admin


def answers(port: int) -> bool:
    """Whether `/ready` says that the proxy serves."""
    admin = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        admin.request("GET", "/ready")
        return admin.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        admin.close()


def cpu_of_start(program: Path, concurrency: int, folder: Path, ports: Ports) -> float:
    """Seconds of CPU until it serves.

    :param program: a twistd that has tcpmesh.
    :raise BenchmarkError: where it does not.
    """
    text, admin = own_ports(DEMO.read_text(), ports)
    (folder / "demo.yaml").write_text(text)
    command = [
        *(str(program), "--nodaemon", "--pidfile=", "tcpmesh", "--disable-hot-restart"),
        *("--concurrency", str(concurrency), "--config-path", "demo.yaml"),
    ]
    # As installed: what was compiled once is not compiled again.
    with Child(command, folder, "start", {"PYTHONDONTWRITEBYTECODE": ""}) as child:

        def ready() -> bool:
            child.check()
            return answers(admin)

        wait_until(ready, _SECONDS, "the proxy is ready")
        return child.cpu_ns() / 1e9


def measure(programs: Sequence[Path], rounds: int) -> dict[tuple[Path, int], list[float]]:
    """The seconds of each program with each number of workers, in turns; the first of each, which
    may have to compile, does not count.
    """
    found: dict[tuple[Path, int], list[float]] = {}
    ports = Ports()
    with tempfile.TemporaryDirectory(prefix="tcpmesh-bench-") as folder:
        for number in range(rounds + 1):
            for concurrency in CONCURRENCIES:
                for program in programs:
                    cpu = cpu_of_start(program, concurrency, Path(folder), ports)
                    if number:
                        found.setdefault((program, concurrency), []).append(cpu)
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("others", nargs="*", type=Path, help="other checkouts with their .venv")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is started (9)")
    options = parser.parse_args(arguments)
    if not 1 <= options.rounds <= 1000:
        parser.error("between 1 and 1000 rounds")
    own = Path(sys.executable).with_name("twistd")
    programs = [own, *(each.absolute() / ".venv" / "bin" / "twistd" for each in options.others)]
    found = measure(programs, options.rounds)
    print(f"CPU seconds from start to ready, median of {options.rounds} (least - most)")
    for (program, concurrency), seconds in found.items():
        middle = median(seconds)
        part = middle / median(found[programs[-1], concurrency])
        ratio = f"   {part:.2f} of the last" if len(programs) > 1 else ""
        print(
            f"{os.path.relpath(program.parents[2])}, {concurrency} worker{'s' * (concurrency > 1)}"
            f": {middle:.3f} ({min(seconds):.3f} - {max(seconds):.3f}){ratio}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
