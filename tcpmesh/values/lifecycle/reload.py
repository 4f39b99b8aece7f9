"""What comes of reading a configuration again, as the log and the admin interface tell it."""

from __future__ import annotations

from enum import Enum

from tcpmesh.facts import dataclass


class How(Enum):
    """What has become of something that a configuration names."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """One thing that is other in one configuration than in another."""

    kind: str
    """`listener`, `cluster`, `secret`, or `setting` for all else."""

    name: str
    """Its name; of a setting the path of the field, such as `admin.access_log`."""

    how: How
    fields: tuple[str, ...] = ()
    """Which of its fields are others, by their paths; the last one is `...` where more are."""

    def __str__(self) -> str:
        more = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.kind} {self.name} {self.how.value}{more}"


class Verdict(Enum):
    """What has come of a wish for another configuration."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """There is no difference."""

    SHOWN = "shown"
    """Only the difference was asked for, and it could be applied."""

    REFUSED = "refused"
    """The configuration cannot be served, or not without a restart."""

    UNTIMELY = "untimely"
    """Not now: the proxy does not serve yet, or drains, or others wait already."""

    FAILED = "failed"
    """A part could not be applied, and what was could not all be put back."""


@dataclass(frozen=True)
class Reloaded:
    """What has come of one reload."""

    verdict: Verdict
    number: int
    """Of the configuration that is served now."""

    changes: tuple[Change, ...] = ()
    """What is other, or would be."""

    errors: tuple[str, ...] = ()
    """Why it is not served, each with its line, where it has one."""

    warnings: tuple[str, ...] = ()
    """What is legal in the configuration, and surely not meant."""


@dataclass(frozen=True)
class Configuration:
    """One that is served, or was."""

    number: int
    """They are counted from 1, with which the proxy was started."""

    at: float
    """Since when, in seconds since 1970."""

    by: str
    """`start`, `signal`, `request`, or `rollback to` a number."""

    version: str
    """A hash of all that it says, in hexadecimal."""

    changes: tuple[Change, ...] = ()
    """In what it was other than the one before it, as far as that is kept."""

    change_count: int = 0
    """How many changes there were."""


class NoSuchConfiguration(LookupError):
    """There is none of this number to go back to; the text says which there are."""
