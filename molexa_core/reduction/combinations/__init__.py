"""The combinations of the hits of a shot that can be the ions of one molecule."""
