"""The same training steps in the plain formulation, for scripts/benchmark.py to measure against, and for tests.

Networks with PyTorch's own layers and activations in place, one call for each image, nothing shared between the
steps of G and D, Adam parameter by parameter, no autocast, contiguous tensors. It computes the same numbers.
"""
import copy
import itertools
import random

import torch
import torch.nn.functional as F
from torch import nn

from models import networks
from models.losses import GAN_LOSSES
from models.nets import convolutions, norms, recompute


class PlainBlock(networks.ResnetBlock):
    def forward(self, x):
        return x + self.conv_block(x)


class PlainConvBlock(networks.ConvBlock):
    def forward(self, x, style=None):
        x = self.conv(x)
        if self.adaptive:
            shift, scale = style
            x = F.instance_norm(x) * scale[..., None, None] + shift[..., None, None]
        else:
            x = self.norm(x)
        return self.activation(x)


class PlainContentBlock(networks.ContentResBlock):
    def forward(self, x, styles=(None, None)):
        return x + self.model[1](self.model[0](x, styles[0]), styles[1])


class PlainDownsample(convolutions.Downsample):
    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), self.filt, stride=2, groups=x.shape[1])


class PlainUpsample(convolutions.Upsample):
    def forward(self, x):
        padded = F.pad(x, (1, 1, 1, 1), mode='replicate')
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=x.shape[1])[:, :, 1:-1, 1:-1]


PLAIN = {
    norms.Chain: nn.Sequential, recompute.Segments: nn.Sequential, norms.InstanceNorm2d: nn.InstanceNorm2d,
    convolutions.OutputConv2d: nn.Conv2d, convolutions.OutputConvTranspose2d: nn.ConvTranspose2d,
    convolutions.HalvingConv2d: nn.Conv2d, convolutions.DoublingConv2d: nn.ConvTranspose2d,
    convolutions.PaddedConv2d: nn.Conv2d, convolutions.ReflectionPad2d: nn.ReflectionPad2d,
    convolutions.Downsample: PlainDownsample, convolutions.Upsample: PlainUpsample,
    networks.ResnetBlock: PlainBlock, networks.ConvBlock: PlainConvBlock, networks.ContentResBlock: PlainContentBlock,
}


def plain_network(net: nn.Module) -> nn.Module:
    """A copy of `net` with the same weights, made of plain layers."""
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in net.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
        if isinstance(module, (nn.ReLU, nn.LeakyReLU)):
            module.inplace = True
    return net


class PlainPool:
    def __init__(self, size: int):
        self.size, self.images = size, []

    def query(self, image):
        """One image (1, C, H, W) for another."""
        image = image.detach()
        if len(self.images) < self.size:
            self.images.append(image.clone())
        elif self.size and random.uniform(0, 1) > 0.5:
            place = random.randint(0, self.size - 1)
            image, self.images[place] = self.images[place].clone(), image.clone()
        return image


class PlainModel:
    """Copies of a model's networks, and `step(A, B)`."""

    def __init__(self, model):
        self.opt = model.opt
        for name, net in model.nets.items():
            setattr(self, name, plain_network(net))
        self.gan = GAN_LOSSES[self.opt.gan_mode]

    def adam(self, *nets):
        parameters = list(itertools.chain(*(net.parameters() for net in nets)))
        return torch.optim.Adam(parameters, lr=self.opt.lr, betas=(self.opt.beta1, 0.999), foreach=False, fused=False,
                                weight_decay=self.opt.weight_decay)

    @staticmethod
    def need_gradients(value: bool, *nets):
        for net in nets:
            net.requires_grad_(value)


class PlainCycleGAN(PlainModel):
    def __init__(self, model):
        super().__init__(model)
        self.pool_A, self.pool_B = PlainPool(self.opt.pool_size), PlainPool(self.opt.pool_size)
        self.optimizer_G, self.optimizer_D = self.adam(self.G_A, self.G_B), self.adam(self.D_A, self.D_B)

    def step(self, A, B):
        opt, l1 = self.opt, F.l1_loss
        fake_B = self.G_A(A)
        rec_A = self.G_B(fake_B)
        fake_A = self.G_B(B)
        rec_B = self.G_A(fake_A)
        self.need_gradients(False, self.D_A, self.D_B)
        self.optimizer_G.zero_grad()
        loss = self.gan(self.D_A(fake_B), True) + self.gan(self.D_B(fake_A), True)
        loss = loss + opt.lambda_A * l1(rec_A, A) + opt.lambda_B * l1(rec_B, B)
        if opt.lambda_identity:
            loss = loss + opt.lambda_identity * opt.lambda_B * l1(self.G_A(B), B)
            loss = loss + opt.lambda_identity * opt.lambda_A * l1(self.G_B(A), A)
        loss.backward()
        self.optimizer_G.step()
        self.need_gradients(True, self.D_A, self.D_B)
        self.optimizer_D.zero_grad()
        for netD, real, fake in ((self.D_A, B, self.pool_B.query(fake_B)), (self.D_B, A, self.pool_A.query(fake_A))):
            (0.5 * (self.gan(netD(real), True) + self.gan(netD(fake), False))).backward()
        self.optimizer_D.step()


class PlainPix2Pix(PlainModel):
    def __init__(self, model):
        super().__init__(model)
        self.optimizer_G, self.optimizer_D = self.adam(self.G), self.adam(self.D)

    def step(self, A, B):
        fake = self.G(A)
        self.need_gradients(True, self.D)
        self.optimizer_D.zero_grad()
        loss = self.gan(self.D(torch.cat([A, fake.detach()], 1)), False)
        (0.5 * (loss + self.gan(self.D(torch.cat([A, B], 1)), True))).backward()
        self.optimizer_D.step()
        self.need_gradients(False, self.D)
        self.optimizer_G.zero_grad()
        loss = self.gan(self.D(torch.cat([A, fake], 1)), True) + self.opt.lambda_L1 * F.l1_loss(fake, B)
        loss.backward()
        self.optimizer_G.step()


class PlainMunit(PlainModel):
    def __init__(self, model):
        super().__init__(model)
        self.optimizer_G, self.optimizer_D = self.adam(self.G_A, self.G_B), self.adam(self.D_A, self.D_B)

    def styles(self, like):
        return torch.randn(len(like), self.opt.style_dim, 1, 1, device=like.device, dtype=like.dtype)

    def judged(self, netD, image, real):
        return sum(self.gan(patches, real) for patches in netD(image))

    def step(self, A, B):
        self.step_D(A, B, self.styles(A), self.styles(A))
        self.step_G(A, B, self.styles(A), self.styles(A))

    def step_D(self, A, B, style_A, style_B):
        self.optimizer_D.zero_grad()
        content_A, _ = self.G_A.encode(A)
        content_B, _ = self.G_B.encode(B)
        fake_A, fake_B = self.G_A.decode(content_B, style_A).detach(), self.G_B.decode(content_A, style_B).detach()
        loss = self.judged(self.D_A, fake_A, False) + self.judged(self.D_A, A, True)
        loss = loss + self.judged(self.D_B, fake_B, False) + self.judged(self.D_B, B, True)
        (self.opt.lambda_gan * loss).backward()
        self.optimizer_D.step()

    def step_G(self, A, B, style_A, style_B):
        opt = self.opt
        l1 = F.l1_loss
        G_A = self.G_A
        G_B = self.G_B
        self.optimizer_G.zero_grad()
        content_A, own_A = G_A.encode(A)
        content_B, own_B = G_B.encode(B)
        rec_A, rec_B = G_A.decode(content_A, own_A), G_B.decode(content_B, own_B)
        fake_A, fake_B = G_A.decode(content_B, style_A), G_B.decode(content_A, style_B)
        rec_content_B, rec_style_A = G_A.encode(fake_A)
        rec_content_A, rec_style_B = G_B.encode(fake_B)
        loss = opt.lambda_recon_x * (l1(rec_A, A) + l1(rec_B, B))
        loss = loss + opt.lambda_recon_s * (l1(rec_style_A, style_A) + l1(rec_style_B, style_B))
        loss = loss + opt.lambda_recon_c * (l1(rec_content_A, content_A) + l1(rec_content_B, content_B))
        loss = loss + opt.lambda_gan * (self.judged(self.D_A, fake_A, True) + self.judged(self.D_B, fake_B, True))
        loss.backward()
        self.optimizer_G.step()


class PlainCUT(PlainModel):
    """One call of G for the images of both domains, an optimizer for each network, logits of one positive each."""

    def __init__(self, model):
        super().__init__(model)
        self.optimizers = [self.adam(net) for net in (self.D, self.G, self.F)]
        self.layers = [int(word) for word in self.opt.nce_layers.split(',')]

    def step(self, A, B):
        opt = self.opt
        n = len(A)
        flipped = bool(torch.rand(()) < 0.5) and opt.flip_equivariance
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        seed = self.generator.get_state()
        real = torch.cat([A, B]) if opt.nce_idt else A
        made = self.G(real.flip(3) if flipped else real)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        (0.5 * (self.gan(self.D(made[:n].detach()), False) + self.gan(self.D(B), True))).backward()
        self.optimizers[0].step()
        self.need_gradients(False, self.D)
        loss = opt.lambda_NCE * self.nce(A, made[:n], flipped)
        if opt.nce_idt:
            self.generator.set_state(seed)
            loss = 0.5 * (loss + opt.lambda_NCE * self.nce(B, made[n:], flipped))
        (opt.lambda_GAN * self.gan(self.D(made[:n]), True) + loss).backward()
        self.need_gradients(True, self.D)
        self.optimizers[1].step()
        self.optimizers[2].step()

    def features(self, image):
        found = {}
        for index, layer in enumerate(self.G.model[:self.layers[-1] + 1]):
            image = layer(image)
            found[index] = image.clone()    # the activation after it is in place
        return [found[index] for index in self.layers]

    def nce(self, source, image, flipped):
        total = 0.0
        features = zip(self.features(image), self.features(source), strict=True)
        for number, (query, key) in enumerate(features):
            query = query.flip(3) if flipped else query
            places = torch.randperm(query.shape[2] * query.shape[3], generator=self.generator)[:self.opt.num_patches]
            total = total + self.cross_entropy(self.vectors(number, query, places),
                                               self.vectors(number, key, places).detach(), len(source))
        return total / len(self.layers)

    def vectors(self, number, feature, places):
        """(N * P, C), of length 1. PyTorch's instance norm needs gradients with channels first (nets/norms.py)."""
        rows = feature.flatten(2)[:, :, places].transpose(1, 2).flatten(0, 1)
        rows = getattr(self.F, f'mlp_{number}')(rows)
        return rows / (rows.square().sum(1, keepdim=True).sqrt() + 1e-7)

    def cross_entropy(self, query, key, n):
        """The first logit is that of the place itself, whose entry among the others is made negligible."""
        positive = (query * key).sum(1, keepdim=True)
        images = 1 if self.opt.nce_includes_all_negatives_from_minibatch else n
        negatives = query.view(images, -1, query.shape[1]) @ key.view(images, -1, key.shape[1]).transpose(1, 2)
        negatives.diagonal(dim1=1, dim2=2).fill_(-10.0)
        logits = torch.cat([positive, negatives.flatten(0, 1)], 1) / self.opt.nce_T
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


FORMULATIONS = {'cyclegan': PlainCycleGAN, 'cut': PlainCUT, 'pix2pix': PlainPix2Pix, 'colorization': PlainPix2Pix,
                'munit': PlainMunit}
