"""Which Python runs tcpmesh, and how it was built.

An interpreter that was compiled with the profile of a training run (PGO) is some percent faster
than one that was not.  Distributions build theirs so, but what pyenv and the like compile on the
spot is built without unless somebody asked for it; so a table that has Python in it must say.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from benchmarks.process import BenchmarkError

_PROBE = """
import json, platform, sysconfig
variables = sysconfig.get_config_vars()
names = ("PY_CFLAGS", "PY_CFLAGS_NODIST")
print(json.dumps({
    "name": platform.python_implementation() + " " + platform.python_version(),
    "options": str(variables.get("CONFIG_ARGS") or ""),
    "flags": " ".join(str(variables.get(name) or "") for name in names),
}))
"""

_DEBIAN = "--with-wheel-pkg-dir=/usr/share/python-wheels"
"""An option of configure that Debian's and Ubuntu's packages are built with, and nobody else's."""


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter knows of itself.

    :ivar name: implementation and version.
    :ivar options: what configure was called with.
    :ivar flags: what the compiler was called with.
    """

    name: str
    options: str
    flags: str


def build(interpreter: Interpreter) -> str:
    """Its name, and whether it was built with PGO and LTO."""
    if _DEBIAN in interpreter.options:
        # Their rules make the targets for it one by one, and keep the flags out of sysconfig.
        return f"{interpreter.name}, Debian's package: built with PGO and LTO"
    pgo = "--enable-optimizations" in interpreter.options or "-fprofile-use" in interpreter.flags
    lto = "--with-lto" in interpreter.options or "-flto" in interpreter.flags
    words = {True: "with", False: "without"}
    return f"{interpreter.name}, built {words[pgo]} PGO, {words[lto]} LTO"


def describe(python: str) -> str:
    """What to call this interpreter in a report.

    :raise BenchmarkError: it does not run.
    """
    try:
        done = subprocess.run(
            [python, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchmarkError(f"{python} does not run: {error}") from None
    return build(Interpreter(**json.loads(done.stdout)))
