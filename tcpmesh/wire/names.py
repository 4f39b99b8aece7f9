"""Names and their addresses, as far as no server is asked: numbers, and the format of /etc/hosts
(hosts(5)).
"""

from __future__ import annotations

import string
from ipaddress import ip_address

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class Found:
    """An address of a name, numeric, and for how many seconds it is good (0: not said)."""

    host: str
    ttl: int = 0


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """The addresses of each name, in lower case, in the order of the file.  Lines that make no
    sense are passed over.
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and is_numeric(words[0]):
            for name in words[1:]:
                key = name.lower().rstrip(".")
                found[key] = (*found.get(key, ()), words[0])
    return found


def is_hostname(text: str) -> bool:
    """Whether this may be asked for: of other characters c-ares makes no question."""
    return not text.translate(_IN_NAMES)


_IN_NAMES = str.maketrans("", "", string.ascii_letters + string.digits + "-._/*")


def is_numeric(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
