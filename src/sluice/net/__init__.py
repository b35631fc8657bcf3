"""Outgoing connections: each goes to an address that was checked (core/addresses.py)."""
