"""A client like any other."""
