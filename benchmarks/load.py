"""Small requests in large numbers, by wrk, each answered once, with its own number and with the
header fields of all others.

wrk counts its latencies from the first moment on, when all connections are new and wait for each
other: of 1,000 connections the first replies alone are more than one in a hundred.  So the script
takes the times itself: what is sent while the connections are made is told apart from the steady
rest.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.backends import ECHO_PATH, Backends
from benchmarks.counters import Meter
from benchmarks.process import BenchmarkError, Child
from benchmarks.tools import program

_RAMP_SECONDS = 0.5
_TAIL_SECONDS = 0.2

_SCRIPT = """\
local ffi = require("ffi")
ffi.cdef[[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *at);
]]
local at = ffi.new("moment")
local threads, sent, last, began, usual = {}, {}, 0, nil, nil
wrong, newcomer, steady = 0, 0, {}

local function microseconds()
  ffi.C.clock_gettime(1, at)
  return tonumber(at.seconds) * 1000000 + math.floor(tonumber(at.nanoseconds) / 1000)
end

function setup(thread) table.insert(threads, thread) end

function request()
  last = last + 1
  local number, start = string.format("%%018d", last), microseconds()
  sent[number] = start
  began = began or start
  return "GET %(path)s" .. number .. " HTTP/1.1\\r\\nHost: bench\\r\\n%(header)s\\r\\n"
end

local function alike(some, others)
  for name, value in pairs(some) do
    if others[name] ~= value and name ~= "Date" then return false end
  end
  return true
end

function response(status, headers, body)
  local start = sent[body]
  usual = usual or headers
  if status ~= 200 or not start or not alike(headers, usual) or not alike(usual, headers) then
    wrong = wrong + 1
    return
  end
  sent[body] = nil
  local waited = microseconds() - start
  if start - began < %(ramp)d then
    newcomer = math.max(newcomer, waited)
  else
    steady[waited] = (steady[waited] or 0) + 1
  end
end

function done(summary, latency, requests)
  local thread, counts = threads[1], {}
  for waited, count in pairs(thread:get("steady")) do
    table.insert(counts, string.format('"%%d": %%d', waited, count))
  end
  local e = summary.errors
  print(string.format(
    '{"requests": %%d, "us": %%d, "wrong": %%d, "newcomer": %%d, "steady": {%%s}, ',
    summary.requests, summary.duration, thread:get("wrong"), thread:get("newcomer"),
    table.concat(counts, ", ")) ..
    string.format('"connect": %%d, "read": %%d, "write": %%d, "timeout": %%d}',
    e.connect, e.read, e.write, e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw, and what it cost.

    :ivar rate: replies a second.
    :ivar p50: median microseconds from request to reply, in the steady part.
    :ivar p99: what one request in a hundred exceeds there, microseconds.
    :ivar newcomer: the longest wait for a reply, in microseconds, while the connections are made.
    :ivar cpu: microseconds of CPU that the proxy spent on a request, in the middle of the run.
    :ivar counted: thousands of instructions for a request, where they can be counted.
    """

    rate: float
    p50: float
    p99: float
    newcomer: float
    cpu: float
    counted: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Counts:
    """What the script printed; `steady` counts requests by the microseconds that they waited."""

    requests: int
    us: int
    wrong: int
    newcomer: int
    connect: int
    read: int
    write: int
    timeout: int
    steady: Mapping[str, int]


def percentile(counts: Mapping[int, int], part: float) -> int:
    """The smallest value that `part` of all do not exceed (nearest rank).

    :raise BenchmarkError: there is no value.
    """
    wanted, seen = part * sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise BenchmarkError("no request was sent after the connections were made")


def _command(port: int, connections: int, seconds: int, script: Path, tls: bool) -> list[str]:
    command = [
        program("wrk"),
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{seconds}s",
    ]
    return [
        *command,
        "--timeout",
        "5s",
        "--script",
        str(script),
        f"http{'s' if tls else ''}://127.0.0.1:{port}",
    ]


def _verified(output: str) -> _Counts:
    """The counts that wrk printed.

    :raise BenchmarkError: not all replies are right.
    """
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise BenchmarkError(f"wrk failed: {output[-300:]}")
    counts = _Counts(**json.loads(line))
    bad = {
        kind: getattr(counts, kind)
        for kind in ("wrong", "connect", "read", "write", "timeout")
        if getattr(counts, kind)
    }
    if bad or not counts.requests:
        raise BenchmarkError(f"of {counts.requests} replies, {bad or 'none at all'} went wrong")
    return counts


def small_requests(
    child: Child,
    port: int,
    backends: Backends,
    directory: Path,
    connections: int,
    seconds: int,
    close: bool = False,
    tls: bool = False,
) -> Load:
    """Send requests for `seconds` over `connections`, each a new connection where `close` is set,
    and with TLS where `tls` is.

    The proxy's CPU is taken over a window that leaves out the connecting at the start, and the
    backends tell how many requests fell into it.

    :raise BenchmarkError: a wrong reply or none.
    """
    script = directory / "wrk.lua"
    header = "Connection: close\\r\\n" if close else ""
    script.write_text(_SCRIPT % {"path": ECHO_PATH, "header": header, "ramp": _RAMP_SECONDS * 1e6})
    command = _command(port, connections, seconds, script, tls)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as wrk:
        try:
            time.sleep(_RAMP_SECONDS)
            requests = backends.requests()
            with Meter(child) as meter:
                time.sleep(seconds - _RAMP_SECONDS - _TAIL_SECONDS)
                requests = backends.requests() - requests - len(backends.web)
                spent = meter.read()
            output = wrk.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            raise BenchmarkError("wrk does not end") from None
        finally:
            wrk.kill()
    counts = _verified(output)
    if not requests:
        raise BenchmarkError("no request was answered in the middle of the run")
    steady = {int(waited): count for waited, count in counts.steady.items()}
    rate = counts.requests * 1e6 / counts.us
    return Load(
        rate,
        percentile(steady, 0.5),
        percentile(steady, 0.99),
        counts.newcomer,
        spent.cpu / 1000 / requests,
        spent.per(requests * 1000),
    )
