"""Feeds mutated files to every reader, to see that each is decoded or refused within bounds."""
