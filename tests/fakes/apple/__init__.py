"""Below the bindings: a C library that behaves like the libraries of a Mac, and the Macs that it shows."""
