"""On the path of a program whose wall clock a test sets."""
