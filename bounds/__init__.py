"""Runs the tests with the lowest and the newest versions that are declared, and keeps a log."""
