"""How a listener chooses filter chains: by their matches, or by a tree."""

from __future__ import annotations

from tcpmesh.config.checks.matching import chains, trees

CHECKS = (chains.CHECKS, trees.CHECKS)
