"""Resources that may run short: one module for each kind of resource monitor."""
