"""The names of all network variants, what they mean, and the image sizes they can take. Needs no torch."""
import re

from util.registry import Registry

DEFAULT_MODEL = 'cycle_gan'         # of train.py, as in the reference
NORMS = ('batch', 'instance', 'none', 'syncbatch')
GAN_MODES = ('vanilla', 'lsgan', 'wgangp', 'hinge')
AUGMENTATIONS = ('color', 'translation', 'cutout')      # of --diffaug
UPSAMPLING = ('transposed', 'resize')
INIT_TYPES = ('normal', 'xavier', 'kaiming', 'orthogonal')

# PatchGAN layers by name; the receptive field is 16, 70 and 286 pixels (pix2pix, section 4.4)
PATCH_LAYERS = {'basic': 3, 'patch16': 1, 'patch70': 3, 'patch286': 5}
MAX_LAYERS_OF_SCALES = 8    # of a discriminator of several scales: 64 channels become 8192
NET_D = ('basic', 'n_layers', 'pixel', 'patch16', 'patch70', 'patch286')
# Networks of one's own: files models/nets/<name>.py besides ours, for --netG and --netD (docs/extending.md)
own_nets = Registry('models.nets', kind='', option='netG',
                    ours=('classes', 'convolutions', 'discriminators', 'factory', 'generators', 'layers', 'norms',
                          'recompute', 'vgg', 'winograd'))
NET_G_HELP = ('resnet_9blocks, resnet_6blocks or any resnet_<n>blocks up to 999; unet_256, unet_128 or any '
              'unet_<power of 2>; encdec_256, encdec_128, ...: the same without skip connections')


def parse_netG(name: str) -> tuple[str, int]:
    """Family and depth of a generator: ('resnet', blocks), ('unet', levels), ('encdec', levels) or ('own', 0).

    Raises ValueError for any other name.
    """
    if match := re.fullmatch(r'resnet_([1-9]\d{0,2})blocks', name):
        return 'resnet', int(match[1])
    if match := re.fullmatch(r'(unet|encdec)_(\d+)', name):
        levels = int(match[2]).bit_length() - 1
        if levels >= 5 and 2**levels == int(match[2]):
            return match[1], levels
    if name in own_nets.names():
        return 'own', 0
    raise ValueError(f'{name} is not a generator (there are: {NET_G_HELP})')


def size_multiple(netG: str) -> int:
    """Both sides of an image must be multiples of this for the output to have the same size."""
    family, depth = parse_netG(netG)
    if family == 'own':
        return own_nets.declarations(netG)['size_multiple']
    return 4 if family == 'resnet' else 2**depth


def smallest_input(netG: str, norm: str) -> int:
    """The smallest image side that a generator can take: an instance norm needs more than one value of a channel."""
    family, _ = parse_netG(netG)
    if family == 'own':
        return own_nets.declarations(netG)['smallest_side']
    return 8 if family == 'resnet' and norm == 'instance' else 4


def patch_layers(netD: str, n_layers_D: int) -> int:
    """Layers of a PatchGAN; 0 for the pixel discriminator."""
    return {'n_layers': n_layers_D, 'pixel': 0, **PATCH_LAYERS}[netD]


def options_of_net(name: str) -> dict[str, tuple]:
    """The table of options of a network of one's own; {} for ours."""
    return own_nets.declarations(name)['options'] if name in own_nets.names() else {}


def smallest_image(netD: str, n_layers_D: int, num_scales: int = 1) -> int:
    """The smallest image side that a discriminator can judge: its last norm needs 2x2 values, at the coarsest scale."""
    if netD in own_nets.names():
        return own_nets.declarations(netD)['smallest_side']
    layers = patch_layers(netD, n_layers_D)
    return 3 * 2**(layers + num_scales - 1) if layers else 1


def pyramid_multiple(values: dict) -> int:
    """Both sides of an image must be multiples of this for a generator that works from coarse to fine."""
    depth = values.get('n_ups') or values['n_downsample_global'] + values['n_local_enhancers']
    return 2**depth


def smallest_encoded(n_blocks_E: int) -> int:
    """The smallest image side that the encoder of latent codes can take: its last norm needs 2x2 values."""
    return 2**(n_blocks_E + 1)


def smallest_autoencoder(n_downsample: int, n_downsample_style: int, n_layers_D: int = 0, num_scales_D: int = 1) -> int:
    """The smallest image side that MUNIT's encoders can take and, in training, its discriminators.

    The norms of the content encoder need 2x2 values.
    """
    return 2**max(n_downsample + 1, n_downsample_style, n_layers_D + num_scales_D - 1)


# ---- options of other programs that are built on the reference

FORKS = {
    'CUT (contrastive-unpaired-translation)':
        'netF normG normD no_antialias_up easy_label random_scale_max evaluation_freq pretrained_name '
        'stylegan2_G_num_downsampling',
    'DCLGAN': 'DCL_mode lambda_SIM',
    'pix2pixHD':
        'label_nc no_instance niter_fix_global '
        'num_D no_ganFeat_loss no_vgg_loss feat_num load_features load_pretrain n_downsample_E n_clusters '
        'instance_feat label_feat tf_log export_onnx',
    'SPADE':
        'norm_G norm_E use_vae num_upsampling_layers semantic_nc label_dir image_dir instance_dir lambda_kld '
        'no_TTUR contain_dontcare_label preprocess_mode coco_no_portraits',
    'BicycleGAN':
        'nl netE netD2 use_same_D lambda_GAN_E use_L2 center_crop n_samples no_encode num_Ds gan_mode2',
    'img2img-turbo':
        'pretrained_model_name_or_path dataset_folder train_img_prep lora_rank_unet lora_rank_vae lambda_clipsim '
        'prompt gradient_checkpointing enable_xformers_memory_efficient_attention',
    'U-GAT-IT': 'light adv_weight cycle_weight identity_weight cam_weight decay_flag',
    'joliGEN': 'config_json with_amp with_tf32 with_torch_compile save_config',
}
JOLIGEN = re.compile(r'(G|D|alg|cls|data|dataaug|f_s|model|output|train)_(\w+)')    # it groups options by such prefixes


def fork_of(option: str) -> str:
    """The program that has an option of this name, or ''."""
    return next((fork for fork, names in FORKS.items() if option in names.split()), '')
