"""How many of tcpmesh's own functions one message and one connection call.

Time depends on the machine and its hour; this does not, so a test holds it.  A call costs 50 to 150
ns beside what it does, and twenty calls more are seldom noticed in microseconds, but by all who
compare a year later.
"""

from __future__ import annotations

import cProfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import tcpmesh
from benchmarks.micro import costs
from benchmarks.micro.mesh import ProductProxy
from benchmarks.micro.stopwatch import Stopwatch

_PACKAGE = str(Path(tcpmesh.__file__).parent) + "/"

Calls = Mapping[str, float]
"""How often each function is called for one unit, by its place: `file.py:line name`."""


def of_message() -> Calls:
    """Those of one message passed on through all of tcpmesh."""
    return _counted(costs.message, 2 * costs.MESSAGE_LOOPS * costs.BATCH)


def of_connection() -> Calls:
    """Those of one connection, from accept to close of both sides, one message included."""
    return _counted(costs.connection, costs.CONNECTION_LOOPS * costs.BATCH)


def by_room(calls: Calls) -> dict[str, float]:
    """The sum of each folder at the top of the package."""
    sums: Counter[str] = Counter()
    for place, count in calls.items():
        sums[place.partition("/")[0]] += count  # type: ignore[assignment]
    return dict(sorted(sums.items()))


def total(calls: Calls, but_for: str = "") -> float:
    """All of them.

    :param but_for: the room whose calls do not count.
    """
    return sum(count for room, count in by_room(calls).items() if room != but_for)


def table(calls: Calls) -> str:
    """The sum, those of each room, and each function that is called at least once in ten units."""
    rooms = ", ".join(f"{room} {count:.1f}" for room, count in by_room(calls).items())
    rows = [f"{count:8.2f}  {place}" for place, count in sorted(calls.items()) if count > 0.1]
    return "\n".join((f"{total(calls):.1f} calls: {rooms}", *rows))


def _counted(cost: costs.Cost, units: int) -> Calls:
    cost(ProductProxy, Stopwatch())  # what is made with the first one is no connection's
    profile = cProfile.Profile(builtins=False)
    cost(ProductProxy, Stopwatch(profile))
    return {
        f"{entry.code.co_filename.removeprefix(_PACKAGE)}:{entry.code.co_firstlineno} "
        f"{entry.code.co_name}": entry.callcount / units
        for entry in profile.getstats()
        if not isinstance(entry.code, str) and entry.code.co_filename.startswith(_PACKAGE)
    }
