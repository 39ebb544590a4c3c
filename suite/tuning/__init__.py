"""Tuning: where a model's parameters are searched, which trials go on, and which one is chosen.

What other packages may use stands in ``__init__.pyi``, and loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
