"""`python -m tests.together COMMAND...`: run commands at the same time, and print what each says,
one after the other, when it has ended.

A shell would do it with `&`, but what it runs so cannot be interrupted by SIGINT, and neither can
the programs that tests start.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack


def together(commands: Sequence[str]) -> int:
    """Run them.

    :return: 0 where all have ended well, else 1.
    """
    failed = 0
    with ExitStack() as files:
        running = []
        for command in commands:
            output = files.enter_context(tempfile.TemporaryFile())
            child = subprocess.Popen(command, shell=True, stdout=output, stderr=output)
            running.append((child, output))
        for child, output in running:
            failed |= child.wait() != 0
            output.seek(0)
            for part in iter(lambda: output.read(1 << 16), b""):  # noqa: B023 - used at once
                sys.stdout.buffer.write(part)
            sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(together(sys.argv[1:]))
