"""Submitting: a model and its records as a folder that somebody else can check, and the maintainer's side of it.

What other packages may use stands in ``__init__.pyi``, and loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
