"""What the command line asks for and cannot have here, said as it is of a field of the
configuration: an error with its reason, or a warning with `--allow-unsupported`.

What would only change how the same configuration is served is a warning in any case: who puts
tcpmesh in Envoy's place keeps the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tcpmesh.config.text.problems import Place, Problem

UNSUPPORTED: Mapping[str, str] = {
    "disable-extensions": "an extension is loaded where the configuration names it",
    "enable-core-dump": "the limit of core files is the shell's or the service manager's to set",
    "enable-mutex-tracing": "there are no mutexes",
}
"""Options of Envoy's that would have to do something, and why they do not."""

SERVED_OTHERWISE: Mapping[str, str] = {
    "enable-fine-grain-logging": "levels are those of loggers, not of source files: see /logging",
}
"""Those whose values, where they are not the default, change nothing for now."""


def option_problems(
    values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    given: Collection[str],
    allow_unsupported: bool,
) -> tuple[Problem, ...]:
    """What is wrong with a command line of these options, in the order of their names.

    :param values: of all options, by their names without the two hyphens.
    :param given: the names of those that the user wrote.
    """
    severity = "warning" if allow_unsupported else "error"
    changed = {name for name in given if values.get(name) != defaults.get(name)}
    found = [
        *_found(UNSUPPORTED, "tcpmesh does not support this option yet", severity, given),
        *_found(SERVED_OTHERWISE, "no effect", "warning", changed),
    ]
    if "cpuset-threads" in given:
        reason = (
            "says how many workers there are" if "concurrency" in given else "does so by default"
        )
        text = f"no effect: --concurrency {reason}"
        found.append(Problem(Place("--cpuset-threads"), "", text, "warning"))
    return tuple(sorted(found, key=lambda problem: problem.place))


def _found(
    reasons: Mapping[str, str], text: str, severity: str, given: Collection[str]
) -> Iterator[Problem]:
    for name in sorted(reasons.keys() & set(given)):
        yield Problem(Place(f"--{name}"), "", f"{text}: {reasons[name]}", severity)
