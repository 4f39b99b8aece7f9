"""Which worker gets a client (`connection_balance_config`)."""
