"""Parts of the report: what it shows, from the results of the stages."""
