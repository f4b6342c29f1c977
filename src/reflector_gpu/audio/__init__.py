"""From bytes to chunks of speech: fetching, spooling, decoding, voice activity, chunking."""
