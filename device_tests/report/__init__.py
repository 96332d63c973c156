"""The report of a measurement: its schema, its rules, how it is read and compared."""
