"""Decodes recordings, on Linux in processes of their own: a hostile file ends only its own."""
