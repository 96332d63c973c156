"""Three small text tasks to show the whole way on: made-up data and full fine-tuning."""
