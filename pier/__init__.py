"""Pier, a container engine. `docs/architecture.md` says on one page where each thing happens."""
