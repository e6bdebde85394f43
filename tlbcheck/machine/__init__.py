"""Machines: registers, operations and caches, as data."""
