"""Where statistics are sent to at each flush: one module for each kind of stats sink."""
