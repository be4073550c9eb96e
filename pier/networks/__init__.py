"""Who can talk to whom."""
