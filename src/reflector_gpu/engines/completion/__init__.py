"""Prompts to text: language models that run here."""
