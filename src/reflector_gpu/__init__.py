"""Speech inference behind one HTTP API: words with times, speakers, translations, completions."""

__version__ = "0.1.0"
