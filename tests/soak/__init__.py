"""A week in two minutes: `make soak`.

A real proxy with several workers serves strange clients, while everything that an operator does in
a week is done to it in random order: reloads, right and wrong ones, resources that discovery
changes, workers that are killed or hang, a machine that sleeps, upgrades.  Clients and backends
know what they have to get, byte for byte.  Only clients of a worker that was killed may be cut off.

At the end the proxy has the configuration of the beginning and no clients, and then it has to be
what it was before: as many descriptors, threads, timers, shared counts and objects of each kind,
and no memory more.

    python -m tests.soak --seed 7 --seconds 120

What is done follows from the seed alone, which is printed; when it is done, and to whom, does not.
"""
