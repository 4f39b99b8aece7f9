"""Consistent hashing with bounded loads (`hash_balance_factor`): a host that has more than its
share passes clients on.

Without a bound a popular key can overload the host it belongs to.  With a factor of 150, no host is
given more than 1.5 times its share of the connections there are; who comes then goes to another
host, found by a shuffle of all hosts that depends on the hash alone, so that the same client goes
to the same other host (arXiv 1608.01350 and 1908.08762).  A pick among full hosts is O(n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from random import Random

from tcpmesh.cluster.balancing.hash_tables import HashTable, Share
from tcpmesh.cluster.hosts.host import Host

_32_BITS = 0xFFFFFFFF
_WORDS = 624


class BoundedTable:
    """A table that asks how busy a host is.

    :param shares: the hosts of the table.
    :param factor: percent of its share that a host may have (`hash_balance_factor`).
    :param active: how many connections of the cluster have a client at this moment, in this
        worker, as the numbers of hosts are.
    """

    def __init__(
        self, table: HashTable, shares: Sequence[Share], factor: int, active: Callable[[], int]
    ) -> None:
        self._table = table
        self._shares = shares
        self._parts = {share.host: share.part for share in shares}
        self._factor = factor
        self._active = active

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The host of the table, or the first in the order of the hash that has room, or else the
        one least above its share.
        """
        host = self._table.choose(key, attempt)
        if host is None:
            return None
        slots = ((self._active() + 1) * self._factor + 99) // 100
        load = _load(host, self._parts[host], slots)
        if load <= 1.0:
            return host
        least, best = load, host
        for index in shuffled(len(self._shares), key):
            other, _, part = self._shares[index]
            if other is host:
                continue
            load = _load(other, part, slots)
            if load <= 1.0:
                return other
            if load < least:
                least, best = load, other
        return best


def _load(host: Host, part: float, slots: int) -> float:
    """How much of its bound a host has: above 1 it is full."""
    return host.rq_active / max(ceil(slots * part), 1)


def shuffled(size: int, seed: int) -> Iterator[int]:
    """The numbers below `size` in the order that Envoy shuffles them for a hash."""
    random = _mersenne_twister(seed & _32_BITS)
    order = list(range(size))
    for i in range(size):
        j = i + _below(random, size - i)
        order[i], order[j] = order[j], order[i]
        yield order[i]


def _below(random: Random, limit: int) -> int:
    """A random number below the limit, by rejection."""
    width = (1 << 32) // limit
    while True:
        number = random.getrandbits(32) // width
        if number < limit:
            return number


def _mersenne_twister(seed: int) -> Random:
    """MT19937 as C++ seeds it (`init_genrand` of its authors); Python mixes a seed in another
    way.
    """
    state = [seed]
    for index in range(1, _WORDS):
        last = state[-1]
        state.append((1812433253 * (last ^ last >> 30) + index) & _32_BITS)
    random = Random(0)
    random.setstate((3, (*state, _WORDS), None))
    return random
