"""CUT and FastCUT: contrastive unpaired translation (Park et al. 2020, https://arxiv.org/abs/2007.15651).

One generator turns A into B, and no network turns B into A. Instead of a cycle, a patch of the result must be more
like the patch of the input at the same place than like other patches of the input. The features to compare come from
the generator's own encoder. --CUT_mode FastCUT is the faster variant (section 4.1).
"""
import torch

from models import networks
from models.base_model import BaseModel
from models.feature_losses import patch_nce
from models.networks import together
from models.training.optimizer import Update
from util.errors import UserError


class CUTModel(BaseModel):
    defaults = {'dataset_mode': 'unaligned', 'netG': 'resnet_9blocks', 'norm': 'instance', 'no_dropout': True,
                'antialias': True, 'init_type': 'xavier', 'gan_mode': 'lsgan', 'pool_size': 0, 'n_epochs': 200,
                'n_epochs_decay': 200}
    train_options = {
        'CUT_mode': ('CUT', 'CUT, or FastCUT: no identity, more weight on NCE, flips, half the epochs',
                     ('CUT', 'FastCUT')),
        'lambda_GAN': (1.0, 'weight of the GAN loss'),
        'lambda_NCE': (1.0, 'weight of the NCE loss'),
        'nce_idt': (True, 'average the NCE loss with that of images of B, which G should keep; or False'),
        'nce_layers': ('0,4,8,12,16', 'layers of the generator whose features are compared'),
        'nce_T': (0.07, 'temperature of the NCE loss'),
        'nce_includes_all_negatives_from_minibatch': (False, 'compare with patches of all images of a batch'),
        'num_patches': (256, 'patches of each layer', (2, 65536)),
        'netF_nc': (256, 'length of the vectors that are compared', (1, 65536)),
        'flip_equivariance': (False, 'mirror half of the inputs, and their features back'),
    }
    presets = {'FastCUT': {'lambda_NCE': 10.0, 'nce_idt': False, 'flip_equivariance': True, 'n_epochs': 150,
                           'n_epochs_decay': 50}}
    preset_option = 'CUT_mode'
    netG_families = ('resnet',)
    same_channels = True
    excludes = {'engine': {'graph': 'it draws patches in every step'}}
    loss_names = ('G_GAN', 'D_real', 'D_fake', 'NCE', 'NCE_Y')
    plateau_losses = ('NCE',)

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)
        if not opt.isTrain:
            return
        self.layers = layers_of(self.netG, opt.nce_layers)
        self.netD = self.define_D(opt.output_nc)
        self.netF = self.prepare(networks.PatchSampler(self.netG.channels(self.layers), opt.netF_nc))
        self.loss_names = [name for name in self.loss_names if name != 'NCE_Y' or opt.nce_idt]
        self.optimizer_D = self.define_optimizer(self.netD)
        self.optimizer_G = self.define_optimizer(self.netG, self.netF)

    def set_input(self, batch):
        super().set_input(batch)
        self.flipped = torch.tensor(False)
        self.patch_seed = torch.tensor(0)

    def draw(self):
        """Flips and patches are the same for all images of a batch."""
        super().draw()
        self.flipped = torch.rand(()) < 0.5
        self.patch_seed = torch.randint(2**31, ())

    def forward(self):
        A = self.flip(self.real_A)
        if self.opt.isTrain and self.opt.nce_idt:
            self.fake_B, self.idt_B = together(self.netG, A, self.flip(self.real_B))
        else:
            self.fake_B = self.netG(A)

    def flip(self, image):
        """A mirrored image, or mirrored features, in the steps that --flip_equivariance chose."""
        return image.flip(3) if self.opt.isTrain and self.opt.flip_equivariance and self.flipped else image

    def updates(self):
        return [Update(self.optimizer_D, self.loss_D), Update(self.optimizer_G, self.loss_G, frozen=(self.netD,))]

    def loss_D(self):
        fake = self.fake_B.detach()
        on_fake, on_real = together(self.netD, fake, self.real_B)
        D_real, D_fake = self.gan_terms_of_D(on_real, on_fake)
        self.note(D_real=D_real, D_fake=D_fake)
        return 0.5 * (D_fake + D_real) + self.critic_penalty(self.netD, self.real_B, fake)

    def loss_G(self):
        """GAN loss, and NCE loss of inputs and, for CUT, of images of B (eq. 5)."""
        opt = self.opt
        copy = self.idt_B if opt.nce_idt else self.fake_B
        loss = self.total(G_GAN=opt.lambda_GAN * self.gan_term_of_G(self.netD, self.fake_B, self.real_B),
                          **self.image_terms(self.fake_B, copy, self.real_B, self.netD.features))
        NCE = opt.lambda_NCE * self.loss_NCE(self.real_A, self.fake_B)
        self.note(NCE=NCE)
        if opt.nce_idt:
            NCE_Y = opt.lambda_NCE * self.loss_NCE(self.real_B, self.idt_B)
            self.note(NCE_Y=NCE_Y)
            NCE = 0.5 * (NCE + NCE_Y)
        return loss + NCE

    def loss_NCE(self, source, result):
        """PatchNCE (eq. 4): each patch of the result against those of its source; the mean over the layers."""
        queries = [self.flip(feature) for feature in self.netG.features(result, self.layers)]
        generator = torch.Generator().manual_seed(int(self.patch_seed))
        places = [torch.randperm(feature[0, 0].numel(), generator=generator)[:self.opt.num_patches].to(self.device)
                  for feature in queries]
        with torch.no_grad():
            keys = self.netF(self.netG.features(source, self.layers), places)
        pairs = zip(self.netF(queries, places), keys, strict=True)
        if self.opt.nce_includes_all_negatives_from_minibatch:
            pairs = [(query.flatten(0, 1)[None], key.flatten(0, 1)[None]) for query, key in pairs]
        return sum(patch_nce(query, key, self.opt.nce_T) for query, key in pairs) / len(self.layers)

    def get_current_visuals(self):
        visuals = {'real_A': self.real_A, 'fake_B': self.flip(self.fake_B), 'real_B': self.real_B}
        return visuals | {'idt_B': self.flip(self.idt_B)} if self.opt.isTrain and self.opt.nce_idt else visuals


def layers_of(netG, text: str) -> tuple[int, ...]:
    """The layers of --nce_layers in rising order; a `UserError` if the generator does not have them."""
    last = len(netG.model) - 1
    words = text.split(',')
    if not all(word.strip().isdigit() and int(word) <= last for word in words):
        raise UserError(f'--nce_layers {text}: needs numbers from 0 to {last}, separated by commas')
    return tuple(sorted({int(word) for word in words}))
