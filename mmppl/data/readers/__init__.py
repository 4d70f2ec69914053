"""Readers, one file for each format. `registry.reader` registers another one."""
