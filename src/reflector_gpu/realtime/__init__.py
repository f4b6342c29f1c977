"""Realtime sessions: events and audio in, events out. No socket and no HTTP in here."""
