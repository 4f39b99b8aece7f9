"""How long a large bootstrap takes to be judged, by tcpmesh and by the real Envoy, side by side:
`python -m benchmarks.config`.

10,000 listeners and 10,000 clusters, once right and once with mistakes all over.  Each is a process
of its own from start to end, in turns, and the least disturbed run of each counts.  It fails where
tcpmesh takes more than twice the time of Envoy on the right file, or longer on the wrong one than
on the right one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import tools
from benchmarks.command import status_of
from benchmarks.process import BenchmarkError

_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_FIRST_PORT = 10000
_ALLOWED = 2.0

#: Rounds of a timing differ by this much for no reason.
_NOISE = 1.1


def bootstrap(count: int, timeout: str = "connect_timeout", listeners: int | None = None) -> str:
    """A bootstrap of so many clusters, each with a listener.

    :param timeout: the name of the field that may be misspelt.
    :param listeners: how many of the clusters have one, where not all have.
    """
    before = "".join(
        f"""\
  - name: listener_{i}
    address:
      socket_address: {{address: 127.0.{i >> 8 & 255}.{i & 255}, port_value: {_FIRST_PORT + i}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": {_PROXY}
          stat_prefix: tcp_{i}
          cluster: cluster_{i}
          idle_timeout: 30s
"""
        for i in range(count if listeners is None else listeners)
    )
    clusters = "".join(
        f"""\
  - name: cluster_{i}
    {timeout}: 0.25s
    type: STATIC
    load_assignment:
      cluster_name: cluster_{i}
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{address: 127.1.0.1, port_value: {_FIRST_PORT + i}}}
"""
        for i in range(count)
    )
    return f"static_resources:\n{'  listeners:' if before else ''}\n{before}  clusters:\n{clusters}"


def seconds(command: Sequence[str], status: int) -> float:
    """How long a command takes.

    :raise BenchmarkError: where it does not end with this status.
    """
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = time.monotonic() - began
    if done.returncode != status:
        raise BenchmarkError(
            f"{' '.join(command)}: status {done.returncode}\n"
            f"{done.stderr[-2000:].decode(errors='replace')}"
        )
    return took


def measure(count: int, rounds: int, folder: Path) -> tuple[float, float, float]:
    """Seconds that Envoy and tcpmesh take on the right file, and tcpmesh on the wrong one."""
    right, wrong = folder / "right.yaml", folder / "wrong.yaml"
    right.write_text(bootstrap(count))
    wrong.write_text(bootstrap(count, "conect_timeout"))
    ours = [tools.twistd(), "tcpmesh", "--mode", "validate", "-c"]
    theirs = [tools.envoy(), "--mode", "validate", "--disable-hot-restart", "-l", "error", "-c"]
    runs = [
        (
            seconds([*theirs, str(right)], 0),
            seconds([*ours, str(right)], 0),
            seconds([*ours, str(wrong)], 1),
        )
        for _ in range(rounds)
    ]
    return min(run[0] for run in runs), min(run[1] for run in runs), min(run[2] for run in runs)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.config", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("--count", type=int, default=10_000, help="listeners, and clusters (10000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (3)")
    options = parser.parse_args(arguments)
    if not (1 <= options.count <= 50_000 and 1 <= options.rounds <= 100):
        parser.error("between 1 and 50000 listeners, 1 and 100 rounds")
    with tempfile.TemporaryDirectory(prefix="tcpmesh-bench-") as folder:
        envoy, right, wrong = measure(options.count, options.rounds, Path(folder))
    print(f"{options.count} listeners and {options.count} clusters, seconds from start to verdict")
    print(f"Envoy                  {envoy:7.2f}")
    print(f"tcpmesh                {right:7.2f}   {right / envoy:.2f} times Envoy's")
    print(f"tcpmesh, with mistakes {wrong:7.2f}   {wrong / right:.2f} times the right file's")
    return 0 if right <= _ALLOWED * envoy and wrong <= _NOISE * right else 1


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
