"""Measurements anyone can repeat: ``make bench``. Tests hold no timings; these do."""
