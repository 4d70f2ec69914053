"""mmppl: latent-variable models of several modalities, any of which may be missing from any sample.

The public names are those of `__init__.pyi`, stated there once and loaded on first use: `import mmppl` loads neither
torch nor pyro.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
