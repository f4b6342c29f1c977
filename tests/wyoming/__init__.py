"""Wyoming: Home Assistant's protocol."""
