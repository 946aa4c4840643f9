"""The version, as a constant: asking the installed metadata would cost more than the rest of `--version`."""

__version__ = "0.1.0"
