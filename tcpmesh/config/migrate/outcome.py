"""What comes of a migration."""

from __future__ import annotations

from tcpmesh.config.text.problems import Problem
from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class Change:
    """One thing that was rewritten: its `line` in the old file, its `path`, a sentence.

    `is_needed` where Envoy would not take it as it was; else it was deprecated.
    """

    line: int
    path: str
    text: str
    is_needed: bool = True

    def __str__(self) -> str:
        return f"{self.line}: {self.path}: {self.text}"


@dataclass(frozen=True)
class Trouble:
    """One thing that cannot be rewritten, and what a person can do."""

    line: int
    path: str
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Migration:
    """What became of a text: the new `text`, the `changes` in it, and the `problems` that are left
    for a person; without changes the text is the old one.
    """

    text: str
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()
