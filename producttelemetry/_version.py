"""The version, in this one place: the build, the User-Agent and the documentation read it from here."""

__version__ = "0.1.0"
