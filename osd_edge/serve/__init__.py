"""The HTTP server of the phone page."""
