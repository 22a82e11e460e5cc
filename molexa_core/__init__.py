"""molexa: from raw reaction-microscope runs to molecular structures with error bars."""

__version__ = "0.2.0"
