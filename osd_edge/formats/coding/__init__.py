"""Coding of small integers and positions as bytes near their entropy."""
