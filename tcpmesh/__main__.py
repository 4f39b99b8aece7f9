"""`python -m tcpmesh`: the same as the console script."""

from tcpmesh.cli import main

if __name__ == "__main__":
    main()
