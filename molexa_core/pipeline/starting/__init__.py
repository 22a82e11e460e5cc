"""The files a user begins with, filled from what is known, and a check that they fit together."""
