"""The application log: which loggers say how much, and opening the file anew after somebody has
moved it away.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.logs.levels import LEVELS, Levels, component_levels

_USAGE = """usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<name>:<level> (the same as paths with one name)
"""


def _logging(call: Call) -> Answer:
    levels = call.server.log_levels
    try:
        _change(levels, {name: value for name, value in call.parameters.items() if value})
    except ValueError as e:
        raise Refusal(
            f"error: {e}\n\n{_USAGE}levels: {' '.join(LEVELS)}\n{_active(levels)}"
        ) from None
    return Answer(_active(levels))


def _change(levels: Levels, parameters: Mapping[str, str]) -> None:
    """Do what the parameters say, all of it or, with `ValueError`, nothing."""
    if len(parameters) > 1:
        raise ValueError("invalid number of parameters")
    for name, value in parameters.items():
        if name == "level":
            levels.set(value)
        elif name in ("paths", "group"):
            for logger, level in component_levels(value).items():
                levels.set(level, logger)
        else:
            levels.set(value, name)


def _active(levels: Levels) -> str:
    lines = [f"  {logger}: {level}\n" for logger, level in levels.get().items()]
    return "active loggers:\n" + "".join(lines)


def _reopen_logs(call: Call) -> Answer:
    call.server.reopen_logs()
    return Answer("OK\n")


ENDPOINTS = (
    Endpoint(
        "/logging",
        "query/change logging levels",
        _logging,
        (
            Parameter("level", "Change all loggers to this level", choices=("", *LEVELS)),
            Parameter("paths", "Change several loggers: <name>:<level>,<name>:<level>"),
            Parameter("group", "Change one logger: <name>:<level>"),
        ),
        changes=True,
    ),
    Endpoint("/reopen_logs", "reopen the log file", _reopen_logs, changes=True),
)
