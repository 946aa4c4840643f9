"""What the portal remembers: tables, files, and how both reach the disk."""
