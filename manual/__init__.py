"""The parts of the documentation that programs write: settings, API reference, borrowed pages."""
