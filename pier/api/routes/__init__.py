"""The routes, by subject; each module has a ROUTES, and `table` has them all."""
