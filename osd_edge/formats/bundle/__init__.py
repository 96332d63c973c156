"""A task bundle: its content, its writer and its reader."""
