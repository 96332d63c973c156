"""Serves the phone page with a base package and task bundles over HTTP; it runs no task."""
