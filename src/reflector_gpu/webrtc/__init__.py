"""WebRTC: peers that send their microphone, and hear events over a data channel."""
