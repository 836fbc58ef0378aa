"""One file per source and platform; `registry` says which exist, `base` what they look like."""
