"""What the process spends its time on, and what of Envoy's profilers has no meaning here.

`/cpuprofiler` is Python's own profiler, cProfile: while it runs, all that is Python takes about
twice as long.  The profile goes to `profile_path` of the configuration, for `python -m pstats`.
Envoy's heap profiles are tcmalloc's.  What Python has instead, tracemalloc, makes every allocation
slow and stops the process for seconds when it is asked, so there is none here.
"""

from __future__ import annotations

import os
from cProfile import Profile
from tempfile import NamedTemporaryFile

from tcpmesh.admin.answers.endpoint import PLAIN, Answer, Call, Endpoint, Parameter, Refusal

PROFILE_PATH = "/var/log/envoy/envoy.prof"
"""Envoy's default for `admin.profile_path`."""

NOT_IMPLEMENTED = 501


class CpuProfiler:
    """The one profiler of the process."""

    def __init__(self) -> None:
        self._running: tuple[Profile, str] | None = None

    def start(self, path: str) -> bool:
        """Profile from now on, and write to this file in the end; whether that can be.

        It is no error to start it twice.
        """
        if self._running is not None:
            return True
        profile = Profile()
        try:
            os.close(os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY))
            profile.enable()
        except (OSError, ValueError):
            return False
        self._running = (profile, path)
        return True

    def stop(self) -> None:
        """Profile no more, and write what was found, if it was started.

        :raise OSError: where it cannot be written.
        """
        if self._running is None:
            return
        (profile, path), self._running = self._running, None
        profile.disable()
        # Beside it first: whoever reads the file never sees half of it, and a link is not followed.
        with NamedTemporaryFile(dir=os.path.dirname(path) or ".", delete=False) as file:
            temporary = file.name
        try:
            profile.dump_stats(temporary)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise


PROFILER = CpuProfiler()


def _cpu_profiler(call: Call) -> Answer:
    enable = _enable(call)
    if not enable:
        try:
            PROFILER.stop()
        except OSError as e:
            raise Refusal(f"cannot write the profile: {e.strerror}\n", 500) from None
        return Answer("OK\n")
    if not PROFILER.start(call.server.bootstrap.admin.profile_path or PROFILE_PATH):
        raise Refusal("failure to start the profiler", 500)
    return Answer("OK\n")


def _enable(call: Call) -> bool:
    choice = call.parameters.get("enable")
    if choice not in ("y", "n"):
        raise Refusal("?enable=<y|n>\n")
    return choice == "y"


def _allocation_profiler(call: Call) -> Answer:
    _enable(call)
    raise Refusal("Allocation profile is not implemented in current build", NOT_IMPLEMENTED)


def _heap_profiler(call: Call) -> Answer:
    raise Refusal("The current build does not support heap profiler", NOT_IMPLEMENTED)


def _heap_dump(call: Call) -> Answer:
    raise Refusal("Heap profile is not implemented in current build", NOT_IMPLEMENTED)


def _contention(call: Call) -> Answer:
    return Answer(
        "Mutex contention tracing is not enabled. To enable, run Envoy with flag "
        "--enable-mutex-tracing."
    )


def _tcmalloc(call: Call) -> Answer:
    raise Refusal("There is no tcmalloc: see /memory\n", NOT_IMPLEMENTED, PLAIN)


ENDPOINTS = (
    Endpoint(
        "/cpuprofiler",
        "enable/disable the CPU profiler",
        _cpu_profiler,
        (Parameter("enable", "enables the CPU profiler", choices=("y", "n")),),
        changes=True,
    ),
    Endpoint(
        "/allocprofiler",
        "enable/disable the allocation profiler (if supported)",
        _allocation_profiler,
        (Parameter("enable", "enable/disable the allocation profiler", choices=("y", "n")),),
        changes=True,
    ),
    Endpoint(
        "/heapprofiler",
        "enable/disable the heap profiler",
        _heap_profiler,
        (Parameter("enable", "enable/disable the heap profiler", choices=("y", "n")),),
        changes=True,
    ),
    Endpoint("/heap_dump", "dump current heap (if supported)", _heap_dump),
    Endpoint("/peak_heap_dump", "dump peak heap (if supported)", _heap_dump),
    Endpoint("/contention", "dump current mutex contention stats (if enabled)", _contention),
    Endpoint("/memory/tcmalloc", "print TCMalloc stats", _tcmalloc),
)
