"""How to add a dataset: copy this file to data/<name>_dataset.py, rename the class, use --dataset_mode <name>.

What a dataset has:

* option tables, as a model has them (see models/template_model.py); `defaults` of a dataset beat those of the
  model, the command line beats both.
* `__init__` finds the files: `self.list_folder(name)` lists the images below a sub-folder of the dataroot and
  answers a missing or empty folder with a sentence. The dataset is as long as `self.paths`; a dataset of more than
  one list defines `__len__`.
* `load(index, rng)` returns one sample, a dict with 'A', 'A_paths' and whatever the model wants: tensors and
  strings. Take randomness from `rng` only: it depends on (seed, epoch, index), so samples do not depend on
  the number of workers, and an interrupted run goes on as if nothing had happened.

The template gives each image twice: in grey levels as A, as it is as B.
"""
from .base_dataset import BaseDataset
from .image_folder import read_image
from .transforms import as_channels, to_tensor


class TemplateDataset(BaseDataset):
    defaults = {'max_dataset_size': 10, 'new_dataset_option': 2.0}
    options = {
        'new_dataset_option': (1.0, 'an example of an own option'),
    }

    def __init__(self, opt):
        super().__init__(opt)
        self.paths = self.list_folder(self.phase)

    def load(self, index, rng):
        path = self.paths[index]
        image = self.prepare.window(read_image(path), rng, path)
        A = as_channels(as_channels(image, 1).convert('RGB'), self.channels_A)
        B = as_channels(image, self.channels_B)
        return self.directed({'A': to_tensor(A), 'B': to_tensor(B), 'A_paths': path, 'B_paths': path})
