"""Codes small integers and positions as bytes near their entropy, and decodes them."""
