"""The `mimeportal` command: parse, call the SDK, render."""
