"""The application log that a command line, twistd's own options and a bootstrap ask for together.

Only one of the command line and the bootstrap may say what a line looks like, as for Envoy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcpmesh.config.fields.to_plain import plain_value
from tcpmesh.config.load import Loaded
from tcpmesh.config.text.problems import Path, Place, Problem, path_text
from tcpmesh.logs.levels import Levels, component_levels, silent_text
from tcpmesh.logs.log import Log
from tcpmesh.logs.pattern import DEFAULT_PATTERN, json_pattern

_FORMAT: Path = ("application_log_config", "log_format")


def log_of(options: Mapping[str, Any], twistd: Mapping[str, Any] | None, pattern: str) -> Log:
    """The log.

    :param options: those of `twistd tcpmesh`, by their names.
    :param twistd: its own, or `None` where another program runs the service.
    :param pattern: what a line looks like: see `pattern_of`.
    :raise OSError: where its file cannot be opened; that has the name.
    """
    path = options["log-path"]
    if not path and twistd is not None:
        detached = not twistd.get("nodaemon", True)
        path = twistd.get("logfile") or ("twistd.log" if detached else "")
    levels = Levels(options["log-level"], component_levels(options["component-log-level"]))
    return Log(levels, "" if path == "-" else path, pattern, bool(options["log-format-escaped"]))


def pattern_of(bootstrap: Any) -> str:
    """What a line of the log looks like where the command line does not say."""
    if bootstrap is None or not _has_format(bootstrap):
        return DEFAULT_PATTERN
    wanted = bootstrap.application_log_config.log_format
    if wanted.WhichOneof("log_format") == "text_format":
        return str(wanted.text_format)
    values: Any = plain_value(wanted.json_format)
    return json_pattern(values)


def format_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """What is wrong with a configuration beside `--log-format`."""
    if not _has_format(loaded.bootstrap):
        return ()
    text = "only one of application_log_config.log_format and --log-format can be specified"
    return (Problem(loaded.places.at(*_FORMAT), path_text(_FORMAT), text),)


def level_problems(text: str) -> tuple[Problem, ...]:
    """Which loggers of `--component-log-level` say nothing here."""
    silent = silent_text(component_levels(text))
    return (Problem(Place("--component-log-level"), "", silent, "warning"),) if silent else ()


def _has_format(bootstrap: Any) -> bool:
    return bool(bootstrap.application_log_config.HasField("log_format"))
