"""Sessions with hosts, kept to be resumed by the next connection.

They are kept by what the connection had asked for: a session is resumed by one that asks for the
same alone, for what is known of the host's certificate was found out then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from tcpmesh.facts import dataclass

MOST_KEYS = 1024
"""So many different things may be asked for: clients may name them."""


@dataclass(frozen=True)
class KeptSession:
    """One of them."""

    session: Any
    """What `CompiledEngine.session` gave."""

    validated: bool
    """Whether the host's certificate was held against an authority."""

    once: bool
    """Whether it is good for one connection only, as in TLS 1.3."""


class Sessions:
    """Those of one context.

    :param most: how many are kept of one kind.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, list[KeptSession]] = OrderedDict()

    def keep(self, key: Hashable, session: KeptSession) -> None:
        """Keep one; the oldest goes where there are too many."""
        kept = self._kept.setdefault(key, [])
        self._kept.move_to_end(key)
        kept.append(session)
        del kept[: -self._most]
        if len(self._kept) > MOST_KEYS:
            self._kept.popitem(last=False)

    def find(self, key: Hashable) -> KeptSession | None:
        """The youngest that can be resumed, if there is one."""
        kept = self._kept.get(key)
        if not kept:
            return None
        return kept.pop() if kept[-1].once else kept[-1]
