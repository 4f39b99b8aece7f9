"""Where a process stands in the row of those that have taken over from each other."""

from __future__ import annotations

from tcpmesh.facts import dataclass

VERSION = "1"
"""Of what is said at a hot restart: processes whose versions are the same can take over from each
other."""

DISABLED = "disabled"
"""What is shown as the version where there is no hot restart."""


class CannotTakeOver(Exception):
    """A process cannot take over from another; the text says why."""


@dataclass(frozen=True)
class RestartFacts:
    """What a process knows of those before it."""

    epoch: int = 0
    """`--restart-epoch`, or one more than that of the process that was upgraded."""

    generation: int = 1
    """How many there were, with this one."""

    base_id: int = 0
    version: str = DISABLED

    before: float = 0.0
    """Seconds that those before this one had served when it started."""


ALONE = RestartFacts()
