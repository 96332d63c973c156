"""Methods compared on one task, at the real bytes of their files."""
