"""Runs in the file formats of free-electron lasers: European XFEL and FLASH."""
