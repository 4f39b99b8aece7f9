"""Runtime values: settings by key that an operator changes while the proxy runs.

A configuration names a key beside a default, and Envoy's own code has keys for what it takes no
field for.  The values come in layers (`layered_runtime`), of which later ones win.  Main has the
layers; what they come to is a *snapshot*, which workers get as a whole, so nobody ever sees half of
a change.
"""
