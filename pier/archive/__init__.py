"""Trees to bytes and back: tar, layers, compression."""
