"""Where a request waits on its way through a proxy: `python -m benchmarks.waits`.

One client with one connection asks one small question after the other.  Of each it takes a tenth of
a millisecond, and four times in it somebody has to be woken: the proxy, the server, the proxy and
the client.  So what the slowest in a hundred have to wait for may be the proxy, or the kernel's
scheduler, or the machine below.  The kernel itself tells: it records when a thread was woken, when
it got a processor, and when it called the kernel (`benchmarks.waits.tracing`); of that each
request's time is split (`benchmarks.waits.split`).
"""
