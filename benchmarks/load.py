"""Small requests in large numbers, by wrk, each reply compared with what it must be."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.backends import SMALL_BODY, SMALL_PATH, Backends
from benchmarks.process import BenchmarkError, Child
from benchmarks.tools import program

_RAMP_SECONDS = 0.5
_TAIL_SECONDS = 0.2

_SCRIPT = """\
local expected = %s
local threads = {}
wrong = 0

function setup(thread) table.insert(threads, thread) end

function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end

function done(summary, latency, requests)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + thread:get("wrong") end
  local e = summary.errors
  print(string.format(
    '{"requests": %%d, "us": %%d, "wrong": %%d, "p50": %%d, "p99": %%d, "connect": %%d, "read": %%d, "write": %%d, "timeout": %%d}',
    summary.requests, summary.duration, bad, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw, and what it cost.

    @ivar rate: replies a second.
    @ivar p50: median microseconds from request to reply.
    @ivar p99: what one request in a hundred exceeds, microseconds.
    @ivar cpu: microseconds of CPU that the proxy spent on a request, in the middle of the run.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


def _command(port: int, connections: int, seconds: float, script: Path, close: bool) -> list[str]:
    command = [program("wrk"), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:g}s"]
    command += ["--timeout", "5s", "--script", str(script)]
    if close:
        command += ["--header", "Connection: close"]
    return [*command, f"http://127.0.0.1:{port}{SMALL_PATH}"]


def _verified(output: str) -> dict[str, int]:
    """The counts that wrk printed.

    @raise BenchmarkError: not all replies are right.
    """
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise BenchmarkError(f"wrk failed: {output[-300:]}")
    counts: dict[str, int] = json.loads(line)
    bad = {kind: counts[kind] for kind in ("wrong", "connect", "read", "write", "timeout") if counts[kind]}
    if bad or not counts["requests"]:
        raise BenchmarkError(f"of {counts['requests']} replies, {bad or 'none at all'} went wrong")
    return counts


def small_requests(
    child: Child, port: int, backends: Backends, directory: Path, connections: int, seconds: int, close: bool = False
) -> Load:
    """Send requests for `seconds` over `connections`, each a new connection where `close` is set.

    The proxy's CPU is taken over a window that leaves out the connecting at the start, and the backends tell how many
    requests fell into it.

    @raise BenchmarkError: a wrong reply or none.
    """
    script = directory / "wrk.lua"
    script.write_text(_SCRIPT % json.dumps(SMALL_BODY))
    command = _command(port, connections, seconds, script, close)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        try:
            time.sleep(_RAMP_SECONDS)
            requests, cpu = backends.requests(), child.cpu_ns()
            time.sleep(seconds - _RAMP_SECONDS - _TAIL_SECONDS)
            requests, cpu = backends.requests() - requests - len(backends.web), child.cpu_ns() - cpu
            output = wrk.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            raise BenchmarkError("wrk does not end") from None
        finally:
            wrk.kill()
    counts = _verified(output)
    if not requests:
        raise BenchmarkError("no request was answered in the middle of the run")
    return Load(counts["requests"] * 1e6 / counts["us"], counts["p50"], counts["p99"], cpu / 1000 / requests)
