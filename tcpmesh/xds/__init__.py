"""Subscriptions: where what discovery brings comes from, and what is told of that."""
