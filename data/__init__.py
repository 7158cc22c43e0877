"""Datasets: `--dataset_mode foo` is the class FooDataset in data/foo_dataset.py; see template_dataset.py."""
from functools import partial

from util.errors import MissingFolderError, UserError
from util.places.remote import is_remote
from util.registry import Registry

registry = Registry(package='data', kind='dataset', option='dataset_mode',
                    ours=('aligned', 'colorization', 'single', 'template', 'unaligned'))


def open_dataset(opt):
    if not registry.is_older(opt.dataset_mode):
        return registry.load(opt.dataset_mode)(opt)
    from .reference_adapter import OlderDataset
    return OlderDataset(partial(registry.load_older, opt.dataset_mode), opt)


def create_dataset(opt):
    """The dataset chosen by the options; for training, its files are checked first."""
    if hasattr(opt, 'frozen'):      # options of a script written for the reference
        from .reference_adapter import ScriptDataset
        dataset = create_dataset(opt.frozen())
        return ScriptDataset(dataset, create_loader(dataset, opt), opt.direction)
    dataset = open_dataset(opt)
    if opt.isTrain:
        dataset.check()
    return dataset


def create_loader(dataset, opt, size: int | None = None, device=None, group=None):
    """Batches of `dataset`, or of its first `size` samples: {'A': (N, C, H, W), 'A_paths': [...], ...}.

    `loader.sampler.set_epoch(epoch)` chooses the order and the augmentation. `device` is where the batches go. With a
    `group` of several processes, each gets its part of every batch.
    """
    import torch

    from util.machine.memory import pins_memory

    from .checking.background import BackgroundCheck
    from .loading.cache import create_cache
    from .loading.cached_loader import CachedLoader
    from .loading.loader import Loader
    from .loading.sampler import EpochSampler
    from .loading.workers import worker_count
    device = torch.device(device or 'cpu')
    rank, processes = (group.rank, group.size) if group else (0, 1)
    sampler = EpochSampler(size or len(dataset), not opt.serial_batches, opt.seed, opt.batch_size, rank, processes,
                           getattr(opt, 'update_size', 0))
    if opt.isTrain and opt.loader != 'stream':
        dataset.cache = create_cache(opt.loader, dataset.n_bytes, dataset.any_device, device)
    local = [paths for paths in dataset.unseen if not is_remote(paths[0])] if opt.isTrain and rank == 0 else []
    if local:
        BackgroundCheck(local, opt.max_pixels, dataset.bad_images).start()
    loader_class = CachedLoader if dataset.cache else Loader
    return loader_class(dataset, sampler, worker_count(opt.num_threads), opt.data_timeout,
                        pin_memory=pins_memory(device))


def held_out(opt, training):
    """The dataset of images that training does not see, for the options of a test; or why there is none, as text.

    Images of `training`, the dataset of the training, are not held out: lists and folders that options name may serve
    every phase.
    """
    # an older file may report missing images by any exception
    missing = Exception if registry.is_older(opt.dataset_mode) else UserError
    try:
        dataset = open_dataset(opt)
        if not len(dataset):        # an older file may take a missing folder for an empty one
            return ''
        if dataset.shares_images(training):
            return 'those that the options name are the training images'
        dataset.keep_going = True
        return dataset
    except MissingFolderError:
        return ''
    except missing as error:
        return str(error)


def fixed_samples(opt, training, count: int) -> tuple[str, list]:
    """What they are, and up to `count` batches of one sample for previews, the same during the whole training.

    They come from the phase of --val_phase or test if there is one, else they are 'training' images. They show the
    whole image where the preprocessing resizes and crops.
    """
    opt = opt.replace(no_flip=True, serial_batches=True, max_dataset_size=count, isTrain=False,
                      load_size=opt.crop_size if 'crop' in opt.preprocess else opt.load_size)
    phases = {opt.val_phase: 'validation', 'test': 'test'} if count else {}
    for phase, source in phases.items():
        dataset = held_out(opt.replace(phase=phase), training)
        if not isinstance(dataset, str):
            return source, readable(dataset, count)
    return 'training', readable(open_dataset(opt), count) if count else []


def readable(dataset, count: int) -> list:
    """The first samples, as batches of one, without those that cannot be read."""
    dataset.keep_going = True
    batches = map(dataset.batch, range(min(count, len(dataset))))
    return [batch for batch in batches if batch['A_paths']]


CreateDataLoader = create_dataset       # its name in 2018
