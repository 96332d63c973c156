"""Refusals as HTTP and OpenAI's clients have them: a status, and an error object."""

from typing import Any

from osd_edge.errors import Code, OsdEdgeError

_STATUSES = {
    Code.API_BODY: 400,
    Code.API_FIELD: 400,
    Code.API_HEAD: 400,
    Code.BASE_CHAT: 400,
    Code.BASE_GENERATION: 400,
    Code.BASE_TEXT: 400,
    Code.TASK_KIND: 400,
    Code.TASK_NONE: 400,
    Code.API_KEY: 401,
    Code.API_MODEL: 404,
    Code.API_ROUTE: 404,
    Code.TASK_UNKNOWN: 404,
    Code.API_METHOD: 405,
    Code.API_SLOW: 408,
    Code.API_BODY_LENGTH: 413,
    Code.API_MEDIA_TYPE: 415,
    Code.API_HOST: 421,
    Code.API_HEAD_LENGTH: 431,
    Code.INPUT_MISSING_PACKAGE: 500,
    Code.INPUT_TOKENIZERS: 500,
    Code.API_BUSY: 503,
    Code.API_STOPPED: 503,
    Code.API_TIMEOUT: 504,
}


def status_of(error: OsdEdgeError) -> int:
    """The status of an answer that refuses.

    >>> from osd_edge import ApiError, InputError
    >>> status_of(ApiError(Code.API_BUSY, "as many wait as may"))
    503
    >>> status_of(InputError(Code.INPUT_NUMBER, "top_k: expected a whole number"))
    400
    """
    found = _STATUSES.get(error.code)
    return found or (400 if error.kind == "input" else 500)


def error_object(error: OsdEdgeError) -> dict[str, Any]:
    """The body of an answer that refuses; `param` is the field that the message begins with."""
    status = status_of(error)
    field, colon, _ = str(error).partition(":")
    return {
        "error": {
            "message": str(error),
            "type": _type(status),
            "param": field if colon and field.isidentifier() else None,
            "code": str(error.code),
        }
    }


def _type(status: int) -> str:
    if status == 401:
        return "authentication_error"
    return "invalid_request_error" if status < 500 else "server_error"
