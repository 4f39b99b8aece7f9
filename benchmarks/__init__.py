"""Side by side with other proxies: the same work, the same machine, the same minutes; `python -m
benchmarks`.

docs/benchmarks/README.md tells what is measured, how to run it and how to read the result.
"""
