"""Three small tasks that write: one sentence, three answers; LoRAs of them over a fetched base."""
