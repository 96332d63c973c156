"""Devices other than this one: how `osd-edge bench --device` reaches them."""
