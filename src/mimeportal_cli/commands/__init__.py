"""One module per noun, loaded when its command is run."""
