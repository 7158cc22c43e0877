"""How to add a dataset: copy this file to data/<name>_dataset.py, rename the class, use --dataset_mode <name>.

What a dataset has:

* option tables, as a model has them (see models/template_model.py); `defaults` of a dataset beat those of the
  model, the command line beats both.
* `__init__` finds the files: `self.list_folder(name)` lists the images below a sub-folder of the dataroot and
  answers a missing or empty folder with a sentence. The dataset is as long as `self.paths`; a dataset of more than
  one list defines `__len__`.
* `self.picture(path, channels)` is an image, upright, in RGB or grey, at the size that windows are cut from; with
  --loader cache_ram it is read once. In training another sample takes the place of one whose file cannot be read.
  `self.open(path)` is the image as it is, of Pillow, in RGB.
* `self.prepare.draw` and `cut` make a window of it: `uint8` (C, H, W), which becomes [-1, 1] on the device. A sample
  may have float tensors instead; they stay what they are.
* `load(index, rng)` returns one sample, a dict with 'A', 'A_paths' and whatever the model wants: tensors and
  strings. Take randomness from `rng` only: it depends on (seed, epoch, index), so samples do not depend on
  the number of workers, and an interrupted run goes on as if nothing had happened.

The template gives each image twice: in grey levels as A, as it is as B.
"""
from .base_dataset import BaseDataset
from .transforms import size_of


class TemplateDataset(BaseDataset):
    any_device = True       # `load` only cuts pictures, so --loader cache_gpu can keep them on the GPU
    defaults = {'max_dataset_size': 10, 'new_dataset_option': 2.0}
    options = {
        'new_dataset_option': (1.0, 'an example of an own option'),
    }

    def __init__(self, opt):
        super().__init__(opt)
        self.paths = self.list_folder(self.phase)

    def load(self, index, rng):
        path = self.paths[index]
        grey, image = self.picture(path, 1), self.picture(path, self.channels_B)
        draw = self.prepare.draw(size_of(image), rng)
        A, B = (self.prepare.cut(picture, draw, path) for picture in (grey, image))
        return self.directed({'A': A.expand(self.channels_A, -1, -1), 'B': B, 'A_paths': path, 'B_paths': path})
