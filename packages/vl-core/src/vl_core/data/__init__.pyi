"""The public names of vl_core.data: the one list, which `__init__.py` imports lazily and type checkers read."""

from ._batch import checked_ids as checked_ids
from ._batch import checked_image as checked_image
from ._batch import image_batch as image_batch
from ._batch import is_single_image as is_single_image
from ._checks import ImageFault as ImageFault
from ._checks import check_images as check_images
from ._checks import refuse_faults as refuse_faults
from ._contents import ImageContents as ImageContents
from ._dataset import ImageDataset as ImageDataset
from ._fit import fit_image as fit_image
from ._folder import find_images as find_images
from ._image import ImageError as ImageError
from ._image import read_image as read_image
from ._kinds import open_contents as open_contents
from ._normalization import Normalization as Normalization
from ._open import open_dataset as open_dataset
from ._parquet import ParquetImages as ParquetImages
from ._parquet import RowGroupCache as RowGroupCache
from ._parquet import open_image_column as open_image_column
from ._specs import BUILTIN_NAMES as BUILTIN_NAMES
from ._specs import check_source as check_source
from ._splits import UndividedError as UndividedError
from ._splits import select_splits as select_splits
from ._subsets import balanced_order as balanced_order
from ._tensor import image_to_tensor as image_to_tensor
