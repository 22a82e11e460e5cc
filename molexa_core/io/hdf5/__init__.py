"""HDF5 files: reading with checks against damaged or hostile content, atomic writing."""
