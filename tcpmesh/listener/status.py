"""What a worker tells main of its listeners: plain values, read by the admin interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ListenerStatus:
    """One listener as `/listeners` shows it."""

    name: str
    addresses: tuple[str, ...]
    """What is bound, such as `127.0.0.1:10000`, `[::1]:80` or `/run/x.sock`; the first is the listener's own."""
