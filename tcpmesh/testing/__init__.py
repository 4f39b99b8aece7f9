"""What users and we test a proxy with.

- `mesh`: a whole configuration on a network in memory, with a clock that stands still;
- `upstreams`: servers to stand behind a proxy; `recording`: protocols that write down what happens;
- `child`: a real `twistd tcpmesh` process, or any other program;
- `memory`: that network, with back-pressure, half-close and resets like the real one;
- `harness`, `contract`: tests that run in memory and on sockets alike, and the suite that every
  transport must pass; `wrapping`: transports that stand on transports, for it;
- `explorer`: every order of events of a proxied connection;
- `balance`: which host would get a connection, asked a million times in seconds.
"""
