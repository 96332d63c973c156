"""From real numbers to what a bundle stores: value types, small integers, heads."""
