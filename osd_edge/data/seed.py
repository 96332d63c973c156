"""The largest seed that every generator of random numbers takes."""

MOST_SEED = 2**63 - 1
