"""What statsd servers are sent, and how."""
