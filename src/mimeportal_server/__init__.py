"""The portal itself: a small, real server that behaves as Mimecast's portals do."""
