"""What viewers of the live page are told."""
