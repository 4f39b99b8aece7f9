"""What the project says of itself: its commands, workflows, pages and figures are true."""
