"""Prints what tcpmesh needs installed, a line each, for pip: `dependencies.py setup.cfg`.

So the image can install it before there is anything of tcpmesh itself.
"""

from __future__ import annotations

import configparser
import sys


def requirements(path: str) -> list[str]:
    """The `install_requires` of a setup.cfg."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(path)
    return config["options"]["install_requires"].split()


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
