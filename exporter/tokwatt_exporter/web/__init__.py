"""The HTTP server: `/metrics`, health, named queries and the landing page."""
