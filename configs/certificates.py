"""Makes the certificates of mutual-tls.yaml, in the folder `certificates` where it is run."""

from __future__ import annotations

import sys
from pathlib import Path

from tcpmesh.testing.certificates import Authority

NAMES = ("orders", "billing")


def main(folder: Path) -> None:
    """An authority, and a certificate for each of the two services, with its SPIFFE identity."""
    folder.mkdir(exist_ok=True)
    authority = Authority("mesh.example authority")
    (folder / "authority.pem").write_bytes(authority.pem)
    for name in NAMES:
        uri = f"spiffe://mesh.example/{name}"
        chain, key = authority.issue(name, dns=[f"{name}.mesh.example"], uris=[uri])
        (folder / f"{name}.pem").write_bytes(chain)
        private = folder / f"{name}.key"
        private.touch(0o600)
        private.write_bytes(key)
    print(f"certificates of {' and '.join(NAMES)}, good for 30 days, are in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "certificates"))
