"""Reads what people give and writes what they get: examples, sizes, files, progress."""
