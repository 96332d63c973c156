"""Lays out osd-edge for another machine: its wheel, its dependencies', and which run there."""
