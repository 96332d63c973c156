"""Serves a base and its tasks over HTTP, in the form that OpenAI's clients speak.

A request's way: `connection` bounds what a client may take of the server, `app` checks who asks
and finds the address, `fields` reads the body, `writing` and `asking` answer. Text is written by
the scheduler in `osd_edge.runtime.generation`, which knows nothing of HTTP. Needs uvicorn, the
extra `[api]`.
"""
