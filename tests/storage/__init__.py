"""Stores: one contract for all, and real faults for those on disk."""
