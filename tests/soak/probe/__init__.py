"""On the path of the proxy that is soaked."""
