"""Prints the lowest version of each dependency that setup.cfg allows, as constraints for pip.

A lower bound that nothing is tried with is a guess, and grows false unseen: a fresh environment
gets the newest of everything.  `make lowest` installs what this prints into an environment of its
own and runs the tests there:

    python tools/lowest.py test > constraints.txt
    pip install --editable '.[test]' --constraint constraints.txt

Arguments are the extras whose packages are wanted beside those of `install_requires`.  Needs
nothing but Python, for it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"

BOUNDED = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)\s*>=\s*(?P<version>[0-9][0-9A-Za-z.]*)(?P<only>;.*)?\Z"
)
"""A requirement as we write them: a package, the oldest version that will do, and where it is
wanted, if that is not everywhere (`; python_version >= "3.11"`).
"""

OWN_EXTRA = re.compile(r"tcpmesh\[[a-z,]+\]\Z")
"""An extra that includes another of ours; it bounds nothing itself."""


class Unbounded(ValueError):
    """A requirement without a lower bound, so that nobody can say which versions will do."""


def requirements(setup: ConfigParser, extras: Iterable[str]) -> Iterator[str]:
    """The lines of `install_requires`, then those of each extra.

    :raise KeyError: where there is no such extra.
    """
    lists = [setup["options"]["install_requires"]]
    lists += [setup["options.extras_require"][extra] for extra in extras]
    for text in lists:
        yield from filter(None, (line.strip() for line in text.splitlines()))


def lowest(requirement: str) -> str:
    """The constraint that holds a requirement down to its lower bound.

    :raise Unbounded: where it has none.
    """
    match = BOUNDED.match(requirement)
    if match is None:
        raise Unbounded(f"{requirement!r} has no lower bound of the form 'package>=version'")
    return f"{match['name']}=={match['version']}{match['only'] or ''}"


def constraints(setup: ConfigParser, extras: Iterable[str]) -> list[str]:
    """A constraint for each package of `install_requires` and of these extras.

    :raise Unbounded: where a package has no lower bound.
    :raise KeyError: where there is no such extra.
    """
    wanted = requirements(setup, extras)
    return [lowest(requirement) for requirement in wanted if not OWN_EXTRA.match(requirement)]


def main() -> None:
    """Print the constraints for the extras that are named as arguments."""
    setup = ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    print("\n".join(constraints(setup, sys.argv[1:])))


if __name__ == "__main__":
    main()
