"""Methods as comparisons see them, ours and those of others: files, and what they restore.

Each is in its own honest best coding. Their names are in the registry of methods.
"""
