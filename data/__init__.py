"""Datasets: `--dataset_mode foo` is the class FooDataset of data/foo_dataset.py; template_dataset.py shows how."""
from util.registry import Registry

registry = Registry(package='data', kind='dataset', option='dataset_mode')


def create_dataset(opt):
    """The dataset that the options ask for; for training its files are looked at first."""
    dataset = registry.load(opt.dataset_mode)(opt)
    if opt.isTrain:
        dataset.check()
    return dataset


def create_loader(dataset, opt, size: int | None = None, pin_memory: bool = False, device=None,
                  rank: int = 0, processes: int = 1):
    """Batches of `dataset`, or of its first `size` samples: {'A': (N, C, H, W), 'A_paths': [...], ...}.

    `loader.sampler.set_epoch(epoch)` chooses the order and the augmentation of an epoch. `device` is that of the
    training, for --loader cache_gpu. Of several `processes` the one with this `rank` gets its share of each batch.
    """
    import torch

    from data.base_dataset import EpochSampler

    from .loading.cache import create_cache
    from .loading.cached_loader import CachedLoader
    from .loading.loader import Loader, count_of_threads
    sampler = EpochSampler(size or len(dataset), not opt.serial_batches, opt.seed, opt.batch_size, rank, processes)
    if opt.isTrain and opt.loader != 'stream':
        dataset.cache = create_cache(opt.loader, dataset, torch.device(device or 'cpu'))
    kind = CachedLoader if dataset.cache else Loader
    return kind(dataset, sampler, opt.batch_size, count_of_threads(opt.num_threads), opt.data_timeout, pin_memory)


def fixed_samples(opt, count: int) -> list:
    """Up to `count` samples, one batch each, that are the same all through a training: of the phase val or test where
    the data have one, else the first of those that are trained on; whole, where they are resized and cut."""
    from data.base_dataset import collate
    from util.errors import UserError
    opt = opt.replace(no_flip=True, serial_batches=True, max_dataset_size=count, isTrain=False,
                      load_size=opt.crop_size if 'crop' in opt.preprocess else opt.load_size)
    for phase in ('val', 'test', opt.phase):
        try:
            dataset = registry.load(opt.dataset_mode)(opt.replace(phase=phase))
            return [collate([dataset[index]]) for index in range(min(count, len(dataset)))]
        except UserError:
            continue
    return []
