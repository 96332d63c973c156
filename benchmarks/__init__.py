"""Programs that make the figures in docs/."""
