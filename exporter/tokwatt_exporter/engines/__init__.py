"""Engines: one file each says how to recognise it, what it reports, how to stream from it and how to unload a model."""

import sys
from types import ModuleType
from typing import cast

# httpx brings a command line with rich, click and pygments: 5.6 MB resident that the daemon never uses. It does
# without where the module cannot be imported.
sys.modules.setdefault("httpx._main", cast(ModuleType, None))
