"""DeSRA: detect and delete the artifacts of GAN super-resolution (Xie et al., ICML 2023)."""

import sys
from pathlib import Path

_APP = Path(__file__).parent / "app"
if _APP.is_dir() and str(_APP) not in sys.path:
    # In a wheel the kernels lie in there; last, so that nobody's own `models` is hidden.
    sys.path.append(str(_APP))
