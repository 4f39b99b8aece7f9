"""Whether the tests of io_uring can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from unittest import skip

Tests = TypeVar("Tests", bound=Callable[..., Any])


def uring(tests: Tests) -> Tests:
    """Skip these where no io_uring is to be had, and say why."""
    why = refusal()
    return skip(why)(tests) if why else tests


def refusal() -> str:
    """Why there is no ring; empty where there is one."""
    try:
        from tcpmesh.net.uring.ring import Ring

        Ring().close()
    except (ImportError, OSError) as e:
        return f"io_uring is not to be had here: {e}"
    return ""
