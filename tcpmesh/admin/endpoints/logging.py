"""The application log: which loggers say how much, and opening the file anew after somebody has
moved it away.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.logs.levels import LEVELS, Levels, component_levels, silent_text

log = Logger(namespace="admin")

_USAGE = """usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
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
        elif name == "group":
            raise ValueError("group parameter requires fine-grain logging, which there is not")
        elif name == "paths":
            for logger, level in component_levels(",".join(filter(None, value.split(",")))).items():
                _set(levels, level, logger)
        else:
            _set(levels, value, name)


def _set(levels: Levels, level: str, logger: str) -> None:
    levels.set(level, logger)
    silent = silent_text([logger])
    if silent:
        log.warn("{silent}", silent=silent)


def _active(levels: Levels) -> str:
    lines = [f"  {logger}: {level}\n" for logger, level in levels.get().items()]
    return "".join(["active loggers:\n", *lines, "\n"])


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
        ),
        changes=True,
    ),
    Endpoint(
        "/reopen_logs",
        "reopen the log file and the files of access logs",
        _reopen_logs,
        changes=True,
    ),
)
