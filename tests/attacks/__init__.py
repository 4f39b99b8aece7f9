"""Hostile peers against a running proxy: `make attack`.

One process serves everybody, so whatever a peer, a query or a file can make long is time that all
connections wait.  Here a real `twistd tcpmesh` relays an echo every few milliseconds while one
attack after the other is played, and an attack is withstood when no echo waited too long, nothing
of it is left in memory or descriptors, and no traceback was logged.

`attack` says what an attack and its limits are, `probe` how long an echo waits and what of that is
the proxy's own doing, `__main__` runs them.  The attacks themselves are in the other modules, by
where they come from: `admin`, `checks_http1`, `checks_http2`, `dns_answers`, `hosts`, `logs`,
`runtime`, `clients`, `upstreams`, and `texts` for configurations, which attack whoever reads them.
"""
