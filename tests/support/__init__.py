"""Helpers that several rooms of the tests share: models, files, command lines and their cases."""
