"""Shows a report to people and programs: tables, Markdown, CSV, one HTML page with plots."""
