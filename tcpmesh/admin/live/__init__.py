"""What the page at `/` is told while it is open: events on a stream, the same for all who look."""
