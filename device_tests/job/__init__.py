"""A scenario's job: its inputs, its sessions, and the sheet on which it notes its figures."""
