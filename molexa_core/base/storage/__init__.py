"""Files that are whole or not there: written, found, with a checksum and where they came from."""
