"""Tests of the `mimeportal` command, through its front door."""
