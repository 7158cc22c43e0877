"""BicycleGAN: many results for one input, from pairs (Zhu et al. 2017, https://arxiv.org/abs/1711.11586).

G turns an image of A and a code z into an image of B; E encodes an image of B as the mean and variance of its code.
Two cycles are trained together (eq. 9): B -> z -> B (cVAE-GAN, judged by D), and z -> B -> z (cLR-GAN, judged by D2).
"""
from pathlib import Path

import torch

from models import catalog, networks
from models.base_model import BaseModel
from models.losses import l1_loss
from models.networks import together
from models.training.optimizer import Update
from models.training.trainer import without_gradients
from util.errors import SizeError
from util.machine.seeding import derive_seed


class BicycleGANModel(BaseModel):
    defaults = {'dataset_mode': 'aligned', 'netG': 'unet_256', 'norm': 'instance', 'no_dropout': True,
                'init_type': 'xavier', 'gan_mode': 'lsgan', 'pool_size': 0}
    options = {
        'nz': (8, 'numbers in a code', (1, 16384)),
        'where_add': ('all', 'where G sees the code: at its input, or at all levels of its encoder', ('input', 'all')),
        'nef': (64, 'channels after the first layer of the encoder', (1, 16384)),
        'n_blocks_E': (4, 'blocks of the encoder, each of which halves the size', (1, 8)),
    }
    train_options = {
        'lambda_L1': (10.0, 'weight of the L1 loss of B -> z -> B'),
        'lambda_GAN': (1.0, 'weight of the GAN loss of B -> z -> B'),
        'lambda_GAN2': (1.0, 'weight of the GAN loss of z -> B -> z'),
        'lambda_z': (0.5, 'weight of the L1 loss of codes'),
        'lambda_kl': (0.01, 'weight of the KL divergence of codes from N(0, I)'),
        'num_scales_D': (2, 'number of image sizes that each discriminator sees', (1, 10)),
        'conditional_D': (False, 'the discriminators see the input image too'),
    }
    test_options = {
        'num_styles': (5, 'random codes for each image', (1, 1000)),
        'style_seed': (10, 'seed of the random codes'),
        'sync_styles': (False, 'the same random codes for all images'),
    }
    netG_families = ('unet',)
    size_rule = 'latent'
    translation = 'codes'
    translates_single = True
    excludes = {'gan_mode': {'wgangp': 'its discriminators have several scales'},
                'netD': {'pixel': 'its discriminators have several scales'},
                'upsample': {'resize': 'its U-Net sees a code, and has transposed convolutions'}}
    loss_names = ('G_GAN', 'G_GAN2', 'G_L1', 'KL', 'z_L1', 'D', 'D2')
    plateau_losses = ('G_L1',)
    target = ('rec_B', 'real_B')

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.normalized(self.prepare(networks.LatentUnet(
            opt.input_nc, opt.output_nc, opt.nz, opt.ngf, opt.norm, not opt.no_dropout,
            catalog.parse_netG(opt.netG)[1], opt.where_add)))
        self.netE = self.prepare(networks.LatentEncoder(opt.output_nc, opt.nz, opt.nef, opt.norm, opt.n_blocks_E))
        if not opt.isTrain:
            return
        self.netD = self.define_scales()
        self.netD2 = self.define_scales()
        self.optimizer_G = self.define_optimizer(self.netG, self.netE)
        self.optimizer_D = self.define_optimizer(self.netD, self.netD2)

    def define_scales(self):
        opt = self.opt
        nc = opt.output_nc + (opt.input_nc if opt.conditional_D else 0)
        layers = catalog.patch_layers(opt.netD, opt.n_layers_D)
        net = networks.PatchScales(nc, opt.ndf, layers, opt.norm, opt.num_scales_D, narrower=True)
        return self.regularized(self.prepare(net))

    def draw(self):
        """Codes from N(0, I) for z -> B -> z, and the noise of the encoded ones, (N, nz) each."""
        super().draw()

        def draw(n):
            return torch.randn(n, self.opt.nz, device=self.device)
        self.z_random, self.noise = (self.group.rows(draw, len(self.real_A)) for _ in range(2))

    def forward(self):
        """Training sees a result with the code of B and one with a random code; a test sees several random ones."""
        if not self.opt.isTrain:
            self.translations = self.translated()
            return
        self.mean, self.log_variance = self.netE(self.real_B)
        self.rec_B = self.netG(self.real_A, self.mean + (0.5 * self.log_variance).exp() * self.noise)
        self.fake_B = self.netG(self.real_A, self.z_random)

    def updates(self):
        return [Update(self.optimizer_G, self.loss_G, frozen=(self.netD, self.netD2)),
                Update(self.optimizer_D, self.loss_D)]

    def loss_G(self):
        """Eq. 9. The code of a random result trains G alone: E would make its codes easy to find."""
        opt = self.opt
        with without_gradients(self.netE):
            found, _ = self.netE(self.fake_B)
        kl = 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(1).mean()
        real = self.seen_by_D(self.real_B)
        return self.total(
            G_GAN=opt.lambda_GAN * self.gan_term_of_G(self.netD, self.seen_by_D(self.rec_B), real),
            G_GAN2=opt.lambda_GAN2 * self.gan_term_of_G(self.netD2, self.seen_by_D(self.fake_B), real),
            G_L1=opt.lambda_L1 * l1_loss(self.rec_B, self.real_B), KL=opt.lambda_kl * kl,
            z_L1=opt.lambda_z * l1_loss(found, self.z_random),
            **self.image_terms(self.fake_B, self.rec_B, self.real_B, self.features_of_D))

    def loss_D(self):
        """Tell real images from results with encoded codes (D) and with random ones (D2). Not halved."""
        return self.total(D=self.loss_D_basic(self.netD, self.rec_B), D2=self.loss_D_basic(self.netD2, self.fake_B))

    def loss_D_basic(self, netD, fake):
        fake, real = self.seen_by_D(fake.detach()), self.seen_by_D(self.real_B)
        on_fake, on_real = together(netD, fake, real)
        return sum(self.gan_terms_of_D(on_real, on_fake)) + self.critic_penalty(netD, real, fake)

    def features_of_D(self, image):
        return self.netD.features(self.seen_by_D(image))

    def seen_by_D(self, image):
        return torch.cat([self.real_A, image], 1) if self.opt.conditional_D else image

    # ---- translating

    def about_results(self):
        return self.about_codes('code')

    def translated(self) -> dict:
        """Results with random codes, and the reconstruction of B from its mean code if there is a B."""
        codes = torch.stack([self.random_codes(path) for path in self.image_paths], 1).to(self.device)
        names = ['fake_B'] if len(codes) == 1 else [f'fake_B_{k}' for k in range(len(codes))]
        visuals = {name: self.netG(self.real_A, z) for name, z in zip(names, codes, strict=True)}
        if hasattr(self, 'real_B'):
            visuals |= {'rec_B': self.netG(self.real_A, self.netE(self.real_B)[0]), 'real_B': self.real_B}
        return {'real_A': self.real_A, **visuals}

    def random_codes(self, path: str) -> torch.Tensor:
        opt = self.opt
        keys = (opt.style_seed,) if opt.sync_styles else (opt.style_seed, Path(path).name)
        return torch.randn(opt.num_styles, opt.nz, generator=torch.Generator().manual_seed(derive_seed(*keys)))

    def preview_batch(self, batch):
        self.set_input(batch)
        self.draw()
        self.forward()
        return self.get_current_visuals()

    def get_current_visuals(self):
        if not self.opt.isTrain:
            return self.translations
        return {'real_A': self.real_A, 'fake_B': self.fake_B, 'rec_B': self.rec_B, 'real_B': self.real_B}

    def check_sizes(self):
        super().check_sizes()
        smallest = catalog.smallest_encoded(self.opt.n_blocks_E)
        if hasattr(self, 'real_B') and min(self.real_B.shape[-2:]) < smallest:
            height, width = self.real_B.shape[-2:]
            raise SizeError(self.image_paths[0], f'is {width}x{height}, but the encoder needs sides of at least '
                            f'{smallest}; use a smaller --n_blocks_E')
