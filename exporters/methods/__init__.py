"""Compression methods behind one contract, and what they share."""
