"""Text to text in another language: one file a family of models, and the catalog of all."""
