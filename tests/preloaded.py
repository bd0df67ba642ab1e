"""What `tests.processes` imports once: packages of others, as the commands import them."""

from cli.deferred import defer_imports

defer_imports()

import cv2  # noqa: E402, F401
import hydra  # noqa: E402, F401
import lightning.pytorch.callbacks  # noqa: E402
import lightning.pytorch.loggers  # noqa: E402, F401
import numba  # noqa: E402, F401
import PIL.Image  # noqa: E402, F401
import torchmetrics  # noqa: E402, F401
