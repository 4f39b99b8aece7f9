"""What Twisted's own transports cost: its portforward."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import tools
from benchmarks.proxies.route import Command, Route


def portforward_command(stem: Path, route: Route) -> Command:
    """How to run it."""
    targets = {"web": route.backends.web[0], "bulk": route.backends.bulk}
    pairs = [f"{port}:{targets[name]}" for name, port in route.ports.items()]
    return Command(
        [sys.executable, "-m", "benchmarks.portforward", *pairs],
        {"PYTHONPATH": str(tools.REPOSITORY)},
    )


def portforward_version() -> str:
    """Twisted's release."""
    return f"Twisted {version('Twisted')}"
