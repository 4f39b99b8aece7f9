"""What one message, one connection and one gigabyte cost inside the process: ten seconds, for
whoever works on the byte path.

`python -m benchmarks.micro`.  Everything runs in one process on a reactor that stands still: the
program plays clients and servers on plain sockets of loopback, and the clock runs only while the
poller serves what they caused.  So neither the load nor the scheduler is in the figures.
"""
