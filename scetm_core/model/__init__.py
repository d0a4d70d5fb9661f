"""The model: `ScETM`, the fused softmax likelihood it is trained with, and the start it is given.

Importing this package imports torch; the web server never does.
"""

from scetm_core.model.scetm import Elbo, ScETM, resolve_device

__all__ = ["Elbo", "ScETM", "resolve_device"]
