"""The version of this package. It is a leaf: nothing has to import the package's root for it."""

__version__ = "0.1.0"
