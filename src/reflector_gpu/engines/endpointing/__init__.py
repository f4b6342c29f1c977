"""Endpointers: they hear whether somebody has finished speaking."""
