"""Writes text: prompts become tokens, and a token after the other becomes text as it comes.

A prompt's way: `prompts` gives its tokens, `loop` runs a batch of rows over a key cache,
`sampling` chooses each next token, `text_stream` makes text of them. A `Conversation` keeps its
cache from one turn to the next.
"""
