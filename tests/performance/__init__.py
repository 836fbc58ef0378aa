"""tokwatt measured on this machine, beside others in the same run: `make bench`."""
