"""The report: figures, tables and the HTML page, drawn from values computed elsewhere."""
