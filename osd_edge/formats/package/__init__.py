"""A base package: its manifest, and what fits it."""
