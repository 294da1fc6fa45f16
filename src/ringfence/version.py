"""The version, where every layer may import it from; pyproject.toml reads it here."""

__version__ = "0.1.0"
