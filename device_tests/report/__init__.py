"""The report of a measurement: schema, rules, reading, comparing."""
