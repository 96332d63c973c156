"""What people give and where results go: examples, sizes, files, progress."""
