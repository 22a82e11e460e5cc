"""The report: figures, tables and one page. It draws what it is given and computes nothing."""
