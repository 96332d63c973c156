"""Conformance: whether a device decodes bundles and computes answers as recorded."""
