"""The files that these tests read, and what several of them find there."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

RULE = re.compile(r"^(\$\(VENV\)[\w./-]*|[a-z][a-z-]*):(?!=)", re.MULTILINE)
"""The target of a rule in the Makefile."""

CALL = re.compile(
    r"(?:^|[`(]|run: |&& )make(?: [A-Z]+=(?:'[^']*'|\S+))* ([a-z.][\w./-]*)", re.MULTILINE
)
"""A command that calls `make`, with the target that it asks for; prose with the word is none."""


def make_targets() -> set[str]:
    """What `make` can be asked for, with `.venv` for `$(VENV)`."""
    return {target.replace("$(VENV)", ".venv") for target in RULE.findall(MAKEFILE)}


def make_calls(text: str) -> set[str]:
    """The targets that the calls of `make` in a text ask for."""
    return set(CALL.findall(text))


def setup() -> ConfigParser:
    """What stands in setup.cfg."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines_of(text: str) -> list[str]:
    """The lines of an option that is a list."""
    return [line for line in (line.strip() for line in text.splitlines()) if line]
