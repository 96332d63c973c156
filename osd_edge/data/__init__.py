"""Checks and reads what people give, and writes what they get: arguments, examples, files."""
