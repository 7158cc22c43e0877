"""Datasets: `--dataset_mode foo` is the class FooDataset in data/foo_dataset.py; see template_dataset.py."""
from functools import partial

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

    from .loading.cache import create_cache
    from .loading.cached_loader import CachedLoader
    from .loading.loader import Loader
    from .loading.sampler import EpochSampler
    from .loading.workers import worker_count
    device = torch.device(device or 'cpu')
    rank, processes = (group.rank, group.size) if group else (0, 1)
    sampler = EpochSampler(size or len(dataset), not opt.serial_batches, opt.seed, opt.batch_size, rank, processes,
                           opt.as_dict().get('update_size', 0))
    if opt.isTrain and opt.loader != 'stream':
        dataset.cache = create_cache(opt.loader, dataset.n_bytes, dataset.any_device, device)
    loader_class = CachedLoader if dataset.cache else Loader
    return loader_class(dataset, sampler, worker_count(opt.num_threads), opt.data_timeout,
                        pin_memory=device.type != 'cpu')


def fixed_samples(opt, count: int) -> list:
    """Up to `count` batches of one sample for previews, the same during the whole training.

    They come from the phase val or test if there is one, else from the training images, and show the whole image where
    the preprocessing resizes and crops.
    """
    from util.errors import UserError

    from .loading.collate import collate
    opt = opt.replace(no_flip=True, serial_batches=True, max_dataset_size=count, isTrain=False,
                      load_size=opt.crop_size if 'crop' in opt.preprocess else opt.load_size)
    # an older file may report missing images by any exception
    missing = Exception if registry.is_older(opt.dataset_mode) else UserError
    for phase in ('val', 'test', opt.phase):
        try:
            dataset = open_dataset(opt.replace(phase=phase))
            return [collate([dataset[index]]) for index in range(min(count, len(dataset)))]
        except missing:
            continue
    return []


CreateDataLoader = create_dataset       # its name in 2018
