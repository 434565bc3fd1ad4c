"""Images from files, folders, archives and the built-in sets, all through one function."""

from vl_core.data._batch import checked_ids, checked_image, image_batch, is_single_image
from vl_core.data._dataset import ImageDataset
from vl_core.data._image import ImageError, read_image
from vl_core.data._normalization import Normalization
from vl_core.data._open import BUILTIN_NAMES, open_dataset
from vl_core.data._splits import UndividedError
from vl_core.data._subsets import balanced_order
from vl_core.data._tensor import image_to_tensor

__all__ = [
    "BUILTIN_NAMES",
    "ImageDataset",
    "ImageError",
    "Normalization",
    "UndividedError",
    "balanced_order",
    "checked_ids",
    "checked_image",
    "image_batch",
    "image_to_tensor",
    "is_single_image",
    "open_dataset",
    "read_image",
]
