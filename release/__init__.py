"""Builds what people install, proves that it can be built again, and tries it where nothing is."""
