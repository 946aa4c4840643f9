"""What mimeportal costs, measured beside the least that any program for the same job must do."""
