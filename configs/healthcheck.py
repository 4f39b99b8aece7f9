"""The health check of the image: whether the proxy is ready, as its admin interface says.

A proxy without an admin interface, and the demo backend, are healthy while they run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ADMIN_ADDRESS = "/tmp/tcpmesh-admin-address"


def main(path: str = ADMIN_ADDRESS) -> int:
    """0 where the proxy is ready, 1 where it is not; the reason is printed."""
    try:
        address = Path(path).read_text().strip()
    except FileNotFoundError:
        print("no admin interface to ask")
        return 0
    # It may listen on all addresses, which is none to connect to.
    address = address.replace("0.0.0.0:", "127.0.0.1:", 1).replace("[::]:", "[::1]:", 1)
    try:
        with urlopen(f"http://{address}/ready", timeout=2.0) as answer:
            print(answer.read().decode().strip())
            return 0
    except (HTTPError, URLError, OSError) as error:
        print(f"not ready: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
