"""Common corruptions and shifts of images, to measure how a model copes with a change of its input.

Two families with one signature, ``(images, name, severity, *, seed, image_ids)``: the severity runs from 1 to 5, and
random numbers depend on the seed, the image's id and the name alone, never on the batch.

- `corrupt`: the fifteen corruptions of ImageNet-C, CIFAR-10-C and Tiny ImageNet-C at their published strengths, for
  images of any size. `CORRUPTIONS` names them: ``gaussian_noise``, ``shot_noise``, ``impulse_noise``;
  ``defocus_blur``, ``glass_blur``, ``motion_blur``, ``zoom_blur``; ``snow``, ``frost``, ``fog``, ``brightness``;
  ``contrast``, ``elastic_transform``, ``pixelate``, ``jpeg_compression``.
- `shift`: photometric and geometric shifts with our own strengths, and your own functions. `SHIFTS` holds them:
  ``gaussian noise``, ``gaussian blur``, ``contrast``, ``brightness``, ``rotation``, ``translation``, ``posterize``,
  ``pixelate``, ``occlusion``.

Where both have a kind (noise, contrast, brightness, pixelate), strengths and random numbers differ: published results
of the one are not comparable with those of the other. Both need the extra ``vl-core[corruptions]``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
