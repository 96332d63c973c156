"""osd-edge on another machine: its wheel, those that it depends on, and which ones run there."""
