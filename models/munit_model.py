"""MUNIT: multimodal unsupervised image-to-image translation (Huang et al. 2018, https://arxiv.org/abs/1804.04732).

An image is encoded as a content code and a style code. G_A is the autoencoder of domain A (not the translation
A to B, as in CycleGAN): it encodes images of A, and decodes any content with a style of A. D_A judges images of A.
A translation decodes the content of one domain with a style of the other, drawn from N(0, I) or encoded from an
example.
"""
import os
from pathlib import Path

import torch

from models import catalog, networks
from models.base_model import BaseModel
from models.losses import VggFeatures, l1_loss, perceptual_loss
from models.training.optimizer import Update
from util.checkpoint import store
from util.errors import SizeError, UserError
from util.machine.seeding import derive_seed


class MunitModel(BaseModel):
    defaults = {'dataset_mode': 'unaligned', 'preprocess': 'scale_shortside_and_crop', 'load_size': 256,
                'crop_size': 256, 'lr': 0.0001, 'gan_mode': 'lsgan', 'pool_size': 0, 'n_layers_D': 4,
                'init_type': 'kaiming', 'no_dropout': True, 'lr_policy': 'step', 'lr_decay_iters': 100000,
                'lr_gamma': 0.5, 'lr_step_unit': 'iter', 'max_iters': 1000000, 'weight_decay': 0.0001}
    options = {
        'style_dim': (8, 'numbers in a style code', (1, 16384)),
        'mlp_dim': (256, 'width of the network from style codes to AdaIN parameters', (1, 16384)),
        'n_downsample': (2, 'halvings in the content encoder', (0, 6)),
        'n_downsample_style': (4, 'halvings in the style encoder', (0, 10)),
        'n_res': (4, 'residual blocks of the content encoder and of the decoder', (1, 100)),
        'pad_type': ('reflect', 'padding: reflect, replicate or zero', ('reflect', 'replicate', 'zero')),
    }
    train_options = {
        'preset': ('', 'settings of a published dataset',
                   ('edges2shoes', 'edges2handbags', 'summer2winter', 'synthia2cityscape')),
        'num_scales_D': (3, 'number of image sizes that the discriminator sees', (1, 10)),
        'norm_D': ('none', 'norm of the discriminator', ('none', 'instance', 'batch', 'layer', 'spectral')),
        'init_type_D': ('normal', 'initial weights of the discriminator',
                        ('normal', 'xavier', 'kaiming', 'orthogonal')),
        'lambda_gan': (1.0, 'weight of the GAN loss'),
        'lambda_recon_x': (10.0, 'weight of the reconstruction of images'),
        'lambda_recon_s': (1.0, 'weight of the reconstruction of style codes'),
        'lambda_recon_c': (1.0, 'weight of the reconstruction of content codes'),
        'lambda_cyc': (0.0, 'weight of the explicit cycle loss'),
        'lambda_vgg': (0.0, 'weight of the perceptual loss between a translation and its source'),
        'vgg_weights': ('', 'file with VGG16 weights; by default those of torchvision are downloaded'),
        'vgg_layer': ('relu5_3', 'feature maps of the perceptual loss',
                      ('relu1_1', 'relu1_2', 'relu2_1', 'relu2_2', 'relu3_1', 'relu3_2', 'relu3_3',
                       'relu4_1', 'relu4_2', 'relu4_3', 'relu5_1', 'relu5_2', 'relu5_3')),
        'detach_content': (False, 'no gradient through the content code that is to be reconstructed'),
        'share_styles': (False, 'use the same random styles for the updates of D and G'),
    }
    test_options = {
        'num_styles': (10, 'random styles for each image', (1, 1000)),
        'style_seed': (10, 'seed of the random styles'),
        'sync_styles': (False, 'the same random styles for all images'),
        'interpolate': (False, 'interpolate in equal steps between two random styles instead'),
        'style_image': ('', 'take the style of this image instead'),
        'style_dir': ('', 'take the style of each image in this folder instead'),
    }
    test_defaults = {'preprocess': 'scale_shortside'}
    presets = {
        'edges2shoes': {},
        'edges2handbags': {},
        'summer2winter': {'lambda_cyc': 10.0},
        'synthia2cityscape': {'lambda_cyc': 10.0, 'lambda_vgg': 1.0, 'load_size': 512, 'crop_size': 512},
    }
    two_way = True
    twin = True
    own_networks = True
    size_rule = 'autoencoder'
    translation = 'styles'
    translates_single = True
    excludes = {'gan_mode': {'wgangp': 'its discriminators have several scales'},
                'spectral_norm_G': {True: 'its generators are two networks in turn'}}
    loss_names = ('D_A', 'D_B', 'recon_x_A', 'recon_x_B', 'recon_s_A', 'recon_s_B', 'recon_c_A', 'recon_c_B',
                  'GAN_A', 'GAN_B', 'cyc_A', 'cyc_B', 'vgg_A', 'vgg_B')
    plateau_losses = ('recon_x_A', 'recon_x_B')

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG_A = self.define_autoencoder(opt.input_nc)
        self.netG_B = self.define_autoencoder(opt.output_nc)
        if not opt.isTrain:
            return
        self.netD_A = self.define_multiscale_D(opt.input_nc)
        self.netD_B = self.define_multiscale_D(opt.output_nc)
        self.vgg = self.load_vgg() if opt.lambda_vgg > 0 else None
        optional = {'cyc': opt.lambda_cyc, 'vgg': opt.lambda_vgg}
        self.loss_names = [name for name in self.loss_names if optional.get(name[:3], 1) > 0]
        self.optimizer_G = self.define_optimizer(self.netG_A, self.netG_B)
        self.optimizer_D = self.define_optimizer(self.netD_A, self.netD_B)

    def define_autoencoder(self, nc):
        opt = self.opt
        return self.prepare(networks.MunitGenerator(
            nc, opt.ngf, opt.style_dim, opt.mlp_dim, opt.n_downsample, opt.n_downsample_style, opt.n_res, opt.pad_type))

    def define_multiscale_D(self, nc):
        opt = self.opt
        net = networks.MultiscaleDiscriminator(nc, opt.ndf, opt.n_layers_D, opt.num_scales_D, opt.norm_D, opt.pad_type)
        return self.regularized(self.prepare(net, opt.init_type_D))

    def forward(self):
        self.content_A, self.style_A = self.netG_A.encode(self.real_A)
        self.content_B, self.style_B = self.netG_B.encode(self.real_B)

    def draw(self):
        """Random styles of A and B for the update of D, and others for the update of G: (2, N, style_dim, 1, 1)."""
        n = len(self.real_A)
        self.styles_D = torch.stack(self.draw_styles(n))
        self.styles_G = self.styles_D if self.opt.share_styles else torch.stack(self.draw_styles(n))

    def updates(self):
        return [Update(self.optimizer_D, self.loss_D),
                Update(self.optimizer_G, self.loss_G, frozen=(self.netD_A, self.netD_B))]

    def draw_styles(self, n: int):
        """Styles of A and of B from N(0, I), (n, style_dim, 1, 1) each."""
        def draw(m):
            return torch.randn(m, self.opt.style_dim, 1, 1, device=self.device)
        return tuple(self.group.rows(draw, n) for _ in 'AB')

    def loss_D(self):
        """Tell real images from translations with random styles. Summed over the scales, not halved."""
        random_A, random_B = self.styles_D
        with torch.no_grad():   # the content codes keep their graph for the update of G, which comes next
            fake_A = self.netG_A.decode(self.content_B, random_A)
            fake_B = self.netG_B.decode(self.content_A, random_B)
        weight = self.opt.lambda_gan
        return self.total(D_A=weight * self.discriminator_loss(self.netD_A, fake_A, self.real_A),
                          D_B=weight * self.discriminator_loss(self.netD_B, fake_B, self.real_B))

    def discriminator_loss(self, netD, fake, real):
        on_fake, on_real = networks.together(netD, fake, real)
        D_real, D_fake = self.gan_terms_of_D(on_real, on_fake)
        return D_fake + D_real + self.critic_penalty(netD, real, fake)

    def loss_G(self):
        """Reconstruct images within a domain and codes across domains, and fool the discriminators (eq. 5)."""
        random_A, random_B = self.styles_G
        opt = self.opt
        G_A = self.netG_A
        G_B = self.netG_B
        self.rec_A, self.fake_A = self.decode_both(G_A, self.content_A, self.style_A, self.content_B, random_A)
        self.rec_B, self.fake_B = self.decode_both(G_B, self.content_B, self.style_B, self.content_A, random_B)
        rec_content_B, rec_random_A = G_A.encode(self.fake_A)
        rec_content_A, rec_random_B = G_B.encode(self.fake_B)
        content_A, content_B = self.content_A, self.content_B
        if opt.detach_content:
            content_A, content_B = content_A.detach(), content_B.detach()
        terms = dict(
            recon_x_A=opt.lambda_recon_x * l1_loss(self.rec_A, self.real_A),
            recon_x_B=opt.lambda_recon_x * l1_loss(self.rec_B, self.real_B),
            recon_s_A=opt.lambda_recon_s * l1_loss(rec_random_A, random_A),
            recon_s_B=opt.lambda_recon_s * l1_loss(rec_random_B, random_B),
            recon_c_A=opt.lambda_recon_c * l1_loss(rec_content_A, content_A),
            recon_c_B=opt.lambda_recon_c * l1_loss(rec_content_B, content_B),
            GAN_A=opt.lambda_gan * self.gan_term_of_G(self.netD_A, self.fake_A, self.real_A),
            GAN_B=opt.lambda_gan * self.gan_term_of_G(self.netD_B, self.fake_B, self.real_B),
            **self.image_terms(self.fake_A, self.rec_A, self.real_A, self.netD_A.features, '_A'),
            **self.image_terms(self.fake_B, self.rec_B, self.real_B, self.netD_B.features, '_B'))
        if opt.lambda_cyc > 0:
            terms.update(
                cyc_A=opt.lambda_cyc * l1_loss(G_A.decode(rec_content_A, self.style_A), self.real_A),
                cyc_B=opt.lambda_cyc * l1_loss(G_B.decode(rec_content_B, self.style_B), self.real_B))
        if opt.lambda_vgg > 0:
            terms.update(vgg_A=opt.lambda_vgg * perceptual_loss(self.vgg, self.fake_A, self.real_B),
                         vgg_B=opt.lambda_vgg * perceptual_loss(self.vgg, self.fake_B, self.real_A))
        return self.total(**terms)

    @staticmethod
    def decode_both(G, content, style, other_content, other_style):
        """Reconstruction and translation; in one call if both contents have the same size."""
        if content.shape != other_content.shape:
            return G.decode(content, style), G.decode(other_content, other_style)
        return G.decode(torch.cat([content, other_content]), torch.cat([style, other_style])).chunk(2)

    def load_vgg(self):
        """The VGG16 of the perceptual loss, with weights from --vgg_weights or torchvision."""
        if self.opt.vgg_weights:
            return self.read_vgg(os.path.abspath(self.opt.vgg_weights))
        try:
            from torchvision.models import VGG16_Weights
            weights = VGG16_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
        except Exception as error:
            raise UserError(f'--lambda_vgg needs the weights of a VGG16, which cannot be downloaded ({error}); '
                            f'give a file with --vgg_weights FILE, or set --lambda_vgg 0')
        return VggFeatures(weights, self.opt.vgg_layer).to(self.device)

    def read_vgg(self, path: str):
        weights = store.read(path, cure='give another file with --vgg_weights')
        try:
            return VggFeatures(weights, self.opt.vgg_layer).to(self.device)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f'{path} has no VGG16 weights; give another file with --vgg_weights')

    # ---- translating

    def prepare_test(self, read_image, list_images):
        """Encode the styles of the example images, and return these to be shown above the results."""
        opt = self.opt
        paths = list_images(opt.style_dir) if opt.style_dir else []
        if opt.style_image:
            paths.insert(0, opt.style_image)
        images = [read_image(path).to(self.device) for path in paths]
        with torch.no_grad(), self.runtime.autocast():
            self.example_styles = [self.netG_B.enc_style(image) for image in images]
        names = self.fake_names(len(paths))
        self.style_sources = dict(zip(names, paths, strict=True))
        examples = {name.replace('fake_B', 'style'): image for name, image in zip(names, images, strict=True)}
        return {'real_A': None, 'rec_A': None, **examples} if examples else {}

    def about_results(self):
        return self.about_codes('style', len(self.example_styles))

    def translate_batch(self, batch):
        """The reconstruction of each image, and its content decoded with each style."""
        self.set_input(batch)
        content, own_style = self.netG_A.encode(self.real_A)
        visuals = {'real_A': self.real_A, 'rec_A': self.netG_A.decode(content, own_style)}
        styles = self.styles_for(batch['A_paths'])
        fakes = [self.netG_B.decode(content, style) for style in styles]
        return visuals | dict(zip(self.fake_names(len(fakes)), fakes, strict=True))

    def preview_batch(self, batch):
        """The reconstruction, and the content decoded with a random style and the style of the other image."""
        self.set_input(batch)
        self.forward()
        random = torch.randn(len(self.real_A), self.opt.style_dim, 1, 1, device=self.device)
        return {'real_A': self.real_A, 'rec_A': self.netG_A.decode(self.content_A, self.style_A),
                'fake_B': self.netG_B.decode(self.content_A, random),
                'fake_B_guided': self.netG_B.decode(self.content_A, self.style_B), 'real_B': self.real_B}

    def styles_for(self, paths: list[str]) -> list[torch.Tensor]:
        """The styles for a batch, (N, style_dim, 1, 1) each: of the examples, or random and seeded by file name."""
        if self.example_styles:
            return [style.expand(len(paths), -1, -1, -1) for style in self.example_styles]
        return list(torch.stack([self.random_styles(path) for path in paths], dim=1).to(self.device))

    def random_styles(self, path: str) -> torch.Tensor:
        opt = self.opt
        keys = (opt.style_seed,) if opt.sync_styles else (opt.style_seed, Path(path).name)
        generator = torch.Generator().manual_seed(derive_seed(*keys))
        if not opt.interpolate:
            return torch.randn(opt.num_styles, opt.style_dim, 1, 1, generator=generator)
        start, end = torch.randn(2, opt.style_dim, 1, 1, generator=generator)
        return torch.stack([torch.lerp(start, end, step) for step in torch.linspace(0, 1, opt.num_styles)])

    @staticmethod
    def fake_names(n: int) -> list[str]:
        return ['fake_B'] if n == 1 else [f'fake_B_{k}' for k in range(n)]

    def get_current_visuals(self):
        return {name: getattr(self, name) for name in ('real_A', 'rec_A', 'fake_B', 'real_B', 'rec_B', 'fake_A')}

    def check_sizes(self):
        """Raise a `SizeError` for images that are too small, or that the networks would return in another size."""
        opt = self.opt
        height, width = self.real_A.shape[-2:]
        multiple = 2**opt.n_downsample
        depth = (opt.n_layers_D, opt.num_scales_D) if opt.isTrain else ()
        smallest = catalog.smallest_autoencoder(opt.n_downsample, opt.n_downsample_style, *depth)
        if min(height, width) < smallest or (opt.isTrain and (height % multiple or width % multiple)):
            raise SizeError(self.image_paths[0], f'is {width}x{height} after --preprocess {opt.preprocess}, but the '
                            f'networks need multiples of {multiple}, at least {smallest}; {self.size_cure()}')
