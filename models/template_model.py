"""How to add a model: copy this file to models/<name>_model.py, rename the class, train with --model <name>.

The template is a regression: a generator learns to map A to B with an L1 loss. A model consists of:

* option tables. `defaults` changes the defaults of existing options. `train_options`, `test_options` and
  `options` (for both) add new ones: {name: (default, meaning)}. A third entry limits the values: the choices, or for
  whole numbers the smallest and the largest. A default of False makes a switch. The tables must be plain literals,
  because --help and errors are printed without running this file; --help --model <name> shows the result.
* `__init__`, which creates the networks (attributes `net*`) and optimizers (`optimizer*`). Both are saved and
  resumed under their names.
* `forward`, which computes images from `self.real_A` and, in training, `self.real_B`. A model always translates A to B:
  the dataset has already applied --direction.
* `updates`, which lists what one step changes, in order: `Update(optimizer, loss, frozen=networks)`. The trainer does
  everything else: gradients, precision, accumulation, several processes, checks.
* loss functions, which return `self.total(name=term, ...)`. `loss_names` is the order of the terms in the log.
* `get_current_visuals`, which names the images for the pages: (N, 1 or 3, H, W) in [-1, 1].
"""
import torch.nn.functional as F

from models.base_model import BaseModel
from models.training.optimizer import Update


class TemplateModel(BaseModel):
    defaults = {'dataset_mode': 'aligned'}
    train_options = {
        'lambda_regression': (1.0, 'weight of the regression loss'),
    }
    loss_names = ('G',)
    plateau_losses = ('G',)

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)
        if opt.isTrain:
            self.optimizer = self.define_optimizer(self.netG)

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def updates(self):
        return [Update(self.optimizer, self.loss_G)]

    def loss_G(self):
        return self.total(G=self.opt.lambda_regression * F.l1_loss(self.fake_B, self.real_B))

    def get_current_visuals(self):
        return {'real_A': self.real_A, 'fake_B': self.fake_B, 'real_B': self.real_B}
