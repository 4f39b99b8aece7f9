"""What is asked of DNS."""

from __future__ import annotations

from enum import Enum


class Family(Enum):
    """Which addresses are wanted (`cluster.v3.Cluster.DnsLookupFamily`): the kinds of records in
    the order they are asked for.
    """

    AUTO = ("AAAA", "A")
    V4_ONLY = ("A",)
    V6_ONLY = ("AAAA",)
    V4_PREFERRED = ("A", "AAAA")
    ALL = ("A", "AAAA", "together")
