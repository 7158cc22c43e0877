"""How to add a dataset: copy this file to data/<name>_dataset.py, rename the class, use --dataset_mode <name>.

A dataset consists of:

* option tables, as in a model (see models/template_model.py). The `defaults` of a dataset override those of the
  model; the command line overrides both.
* `__init__`, which finds the files. `self.list_folder(name)` lists the images in a sub-folder of the dataroot and
  reports a missing or empty folder. The length of the dataset is that of `self.paths`; with more than one list,
  define `__len__`.
* `load(index, rng)`, which returns one sample: a dict with 'A', 'A_paths' and whatever the model needs, as tensors and
  strings. Take random numbers from `rng` only: it depends on (seed, epoch, index), so samples do not depend on the
  number of workers, and an interrupted run continues with the same samples.

Helpers for `load`:

* `self.picture(path, channels)` reads an image in RGB or gray, upright and resized; with --loader cache_ram each file
  is read once. In training, a file that cannot be read is replaced by another sample. `self.open(path)` is the Pillow
  image in RGB, not resized.
* `self.prepare.draw` draws a crop and a flip, `self.prepare.cut` applies them: `uint8` (C, H, W), which the device
  converts to [-1, 1]. A sample may have float tensors instead; they are used as they are.

The template shows each image twice: in gray as A, in color as B.
"""
from .base_dataset import BaseDataset
from .transforms import size_of


class TemplateDataset(BaseDataset):
    image_channels = (1, 3)
    any_device = True       # `load` only crops images, so --loader cache_gpu can keep them on the GPU
    defaults = {'max_dataset_size': 10, 'new_dataset_option': 2.0}
    options = {
        'new_dataset_option': (1.0, 'an example of an own option'),
    }

    def __init__(self, opt):
        super().__init__(opt)
        self.paths = self.list_folder(self.phase)

    def load(self, index, rng):
        path = self.paths[index]
        gray, image = self.picture(path, 1), self.picture(path, self.channels_B)
        draw = self.prepare.draw(size_of(image), rng)
        A, B = (self.prepare.cut(picture, draw, path) for picture in (gray, image))
        return self.directed({'A': A.expand(self.channels_A, -1, -1), 'B': B, 'A_paths': path, 'B_paths': path})
