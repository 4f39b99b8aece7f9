"""What users and we test a proxy with.

- `memory`, `stream`: a network in memory, with backpressure, half-close and resets like the real
  one;
- `mesh`: a whole configuration on it, with a clock that stands still;
- `stage`, `recorder`: tests that run in memory and on sockets alike, and protocols that write down
  what happens;
- `contract`: the suite that every transport must pass;
- `upstreams`: servers to stand behind a proxy;
- `child`: a real `twistd tcpmesh` process.
"""
