"""SPADE: photos from label maps (Park et al. 2019, https://arxiv.org/abs/1903.07291).

The label map scales and shifts the normalized features of G at each place and size, so that norms do not remove it.
"""
import torch

from models import networks
from models.base_model import BaseModel
from models.networks import class_colors, class_planes
from models.training.optimizer import Update
from util.errors import SizeError


class SPADEModel(BaseModel):
    defaults = {'dataset_mode': 'aligned', 'norm': 'instance', 'no_dropout': True, 'gan_mode': 'hinge', 'pool_size': 0,
                'init_type': 'xavier', 'lr': 0.0001, 'lr_D': 0.0004, 'beta1': 0.0, 'beta2': 0.9, 'lambda_feat': 10.0,
                'lambda_perceptual': 10.0, 'spectral_norm_G': True, 'spectral_norm_D': True}
    options = {
        'norm_S': ('instance', 'norm that the label map modulates: instance, or syncbatch as in the paper',
                   ('instance', 'syncbatch')),
        'spade_nc': (128, 'channels of the label map between the convolutions that modulate', (1, 16384)),
        'n_ups': (5, 'times that G doubles the size', (1, 5)),
    }
    train_options = {
        'lambda_GAN': (1.0, 'weight of the GAN loss'),
        'num_scales_D': (2, 'number of image sizes that are judged', (1, 10)),
    }
    own_networks = True
    size_rule = 'pyramid'
    translation = 'spade'
    excludes = {'gan_mode': {'wgangp': 'its discriminators have several scales'}}
    loss_names = ('G_GAN', 'feat', 'D_real', 'D_fake')
    plateau_losses = ('G_GAN',)
    target = ('fake_B', 'real_B')

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        table = opt.labels_B if opt.direction == 'BtoA' else opt.labels_A
        self.colors = class_colors(table).to(self.device) if table else None
        self.seen_nc = len(self.colors) if table else opt.input_nc
        self.netG = self.define_G(self.seen_nc, opt.output_nc)
        if not opt.isTrain:
            self.netG.eval()        # running statistics: one image is not a batch
            return
        self.netD = self.define_D(self.seen_nc + opt.output_nc)
        self.optimizer_G = self.define_optimizer(self.netG)
        self.optimizer_D = self.define_optimizer(self.netD)

    def define_G(self, input_nc, output_nc):
        opt = self.opt
        return self.normalized(self.prepare(networks.SpadeGenerator(input_nc, output_nc, opt.ngf, opt.norm_S, opt.n_ups,
                                                                    opt.spade_nc)))

    def define_D(self, input_nc):
        opt = self.opt
        net = networks.ScaleDiscriminators(input_nc, opt.ndf, opt.n_layers_D, opt.norm, opt.num_scales_D)
        return self.regularized(self.prepare(net))

    def check_sizes(self):
        height, width = self.real_A.shape[-2:]
        multiple, smallest = self.netG.multiple, self.netG.smallest
        if height % multiple or width % multiple or min(height, width) < smallest:
            raise SizeError(self.image_paths[0], f'is {width}x{height}, but the generator needs multiples of '
                            f'{multiple}, at least {smallest}; {self.size_cure()}')

    def forward(self):
        """Label maps (--labels_A) are seen as one plane for each class."""
        self.seen_A = class_planes(self.real_A, self.colors)
        self.fake_B = self.netG(self.seen_A)

    def updates(self):
        return [Update(self.optimizer_G, self.loss_G, frozen=(self.netD,)), Update(self.optimizer_D, self.loss_D)]

    def loss_G(self):
        """Hinge loss, feature matching and, with --perceptual_weights, VGG features (section 3, appendix A)."""
        fake, real = self.seen_by_D(self.fake_B), self.seen_by_D(self.real_B)
        return self.total(G_GAN=self.opt.lambda_GAN * self.gan_term_of_G(self.netD, fake, real),
                          **self.image_terms(self.fake_B, self.fake_B, self.real_B, self.features_of_D))

    def loss_D(self):
        """Tell real pairs from pairs with a generated image, summed over the scales; not halved."""
        fake, real = self.seen_by_D(self.fake_B.detach()), self.seen_by_D(self.real_B)
        D_real, D_fake = self.gan_terms_of_D(self.netD(real), self.netD(fake))
        return self.total(D_real=D_real, D_fake=D_fake) + self.critic_penalty(self.netD, real, fake)

    def features_of_D(self, image):
        return self.netD.features(self.seen_by_D(image))

    def seen_by_D(self, image):
        return torch.cat([self.seen_A, image], 1)

    def get_current_visuals(self):
        return {'real_A': self.real_A, 'fake_B': self.fake_B, 'real_B': self.real_B}
