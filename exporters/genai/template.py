"""Chat templates in the form that onnxruntime-genai renders: with nothing left to trim."""

from jinja2 import Environment

_ENDS = ("block_end", "comment_end", "raw_end")
_BEGINNINGS = ("block_begin", "comment_begin")


def without_block_trimming(source: str) -> str:
    """Gives a template that says without jinja2's trimming what `source` says with it.

    transformers renders templates with `trim_blocks` and `lstrip_blocks`: the line break after a
    tag, and the spaces before one that begins a line, are not of the text. genai keeps both.

    >>> without_block_trimming("{% for m in messages %}\\n  {% if m %}\\n{{ m }}\\n  {% endif %}")
    '{% for m in messages %}{% if m %}{{ m }}\\n{% endif %}'
    """
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    parts = []
    for _, kind, text in environment.lex(source):
        if kind in _ENDS:
            text = text.removesuffix("\n").replace("+", "")
        # A plus says that nothing is trimmed, which genai does not know.
        parts.append(text.replace("+", "") if kind in _BEGINNINGS else text)
    return "".join(parts)
