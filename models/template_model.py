"""How to add a model: copy this file to models/<name>_model.py, rename the class, train with --model <name>.

The template is regression: a generator learns B from A by an L1 loss. What a model has:

* option tables. `defaults` gives existing options other defaults; `train_options`, `test_options` and
  `options` (both) add new ones as {name: (default, meaning)}, with the valid values as a third entry if there
  are only some (for whole numbers: the least and the largest). They must be plain literals: help and mistakes are
  answered without running this file.
  A default of False makes a switch. --help --model <name> shows the result.
* `__init__` makes the networks (attributes `net*`), the optimizers (`optimizer*`) and nothing else.
  Networks are saved and loaded by their names, optimizers are resumed by theirs.
* `forward` computes the images; it is all that test.py calls. `self.real_A` and `self.real_B` are there, and
  --direction has already been taken care of: a model only ever translates A to B.
* `updates` lists what one step changes, in order: `Update(optimizer, loss, frozen=networks)`; the trainer does
  everything else (precision, accumulation, several processes, checks).
* losses are functions that return `self.total(name=term, ...)`; `loss_names` is their order in the log.
* `get_current_visuals` names the images for the pages: (N, 1 or 3, H, W) in [-1, 1].
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
