"""tcpmesh: an L4 proxy that runs an unmodified Envoy bootstrap, as a Twisted plugin, or by `Proxy`
in any other program of Twisted or asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpmesh.config.schema.finder import install
from tcpmesh.version import __version__ as __version__

if TYPE_CHECKING:
    from tcpmesh.embedding import CannotStart, ConfigError, Problem, Proxy

__all__ = ["CannotStart", "ConfigError", "Problem", "Proxy"]

# Before anything of tcpmesh imports a message: one that is imported cannot get fields any more.
install()


def __getattr__(name: str) -> object:
    """What embeds a proxy is imported when it is first asked for: it brings all the rest."""
    if name not in __all__:
        raise AttributeError(f"module 'tcpmesh' has no attribute {name!r}")
    from tcpmesh import embedding

    return getattr(embedding, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
