"""tokwatt as a service: an agent or daemon of launchd, or a unit of systemd."""
