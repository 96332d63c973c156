"""Changes to files that know how a file is built, so that most mutants get past the first check.

A mutator takes noise, a file and another of the same kind, and gives a new file.
"""

from collections.abc import Callable
from random import Random

Mutator = Callable[[Random, bytes, bytes], bytes]
