"""What a scenario is given and what it gives back: its job, its inputs and sessions, its sheet."""
