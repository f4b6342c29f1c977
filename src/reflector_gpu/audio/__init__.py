"""Bytes to speech chunks: spooling, fetching, decoding, voice activity, chunking."""
