"""The command line, one file a command: the one room that may see workstation and device.

A command is imported when it is asked for, and imports what it needs when it runs.
"""
