"""What a checkpoint is: its backbone, head, tokenizer, adapters and family."""
