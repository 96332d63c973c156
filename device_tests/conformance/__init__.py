"""Whether a device computes what it has to."""
