"""Chunks through one `submit` seam and back into a transcript, in order."""
