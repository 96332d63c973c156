"""The readers that inputs are given to, each with its seeds, its mutator and its bounds."""
