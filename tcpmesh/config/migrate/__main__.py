"""`python -m tcpmesh.config.migrate`: the same as `tcpmesh migrate`."""

import sys

from tcpmesh.config.migrate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
