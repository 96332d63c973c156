"""Shows a report to people and programs: tables, Markdown, CSV, one HTML page with plots.

The names in `__all__` are for users; everything else is private to the package.
"""

from osd_edge.device_tests.render.csv_rows import to_csv
from osd_edge.device_tests.render.html import to_html
from osd_edge.device_tests.render.markdown import to_markdown
from osd_edge.device_tests.render.tables import Table, facts_of, tables_of

__all__ = ["Table", "facts_of", "tables_of", "to_csv", "to_html", "to_markdown"]
