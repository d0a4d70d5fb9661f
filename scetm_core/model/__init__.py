"""The model: `ScETM` and the fused softmax likelihood it is trained with.

Importing this package imports torch; the web server never does.
"""

from scetm_core.model.scetm import Elbo, ScETM, resolve_device

__all__ = ["Elbo", "ScETM", "resolve_device"]
