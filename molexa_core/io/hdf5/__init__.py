"""HDF5 files read with nothing trusted, and written so that they are whole."""
