"""A scenario in a process of its own: what it is given, how it is played, what comes back."""
