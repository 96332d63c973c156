"""What is measured and with what: memory, time, sensors, disks."""
