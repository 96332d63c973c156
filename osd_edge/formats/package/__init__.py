"""A base package: its manifest, which bundles fit it, and the inputs of its graph."""
