"""Guests: a model from outside in processes of its own, the wire between them, the walls around them.

What other packages may use stands in ``__init__.pyi``, and loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
