"""How logits become answers, a file for each kind of task."""
