"""Gauges: what measures memory, time, sensors and disks."""
