"""Home Assistant's Wyoming protocol: speech to text for its voice assistants."""
