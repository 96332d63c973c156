"""Checkpoints as they are read: backbone, head, tokenizer, adapters and family."""
