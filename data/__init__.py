"""Datasets: `--dataset_mode foo` is the class FooDataset of data/foo_dataset.py. See template_dataset.py to add one."""
from util.registry import Registry

registry = Registry(package='data', kind='dataset', option='dataset_mode')


def create_dataset(opt):
    """The dataset that the options ask for."""
    return registry.load(opt.dataset_mode)(opt)


def create_loader(dataset, opt, pin_memory: bool = False):
    """Batches of `dataset`: {'A': (N, C, H, W), 'A_paths': [...], ...}.

    `loader.sampler.set_epoch(epoch)` chooses the order and the augmentation of an epoch.
    """
    from torch.utils.data import DataLoader

    from data.base_dataset import EpochSampler
    sampler = EpochSampler(len(dataset), shuffle=not opt.serial_batches, seed=opt.seed)
    n_batches = -(-len(dataset) // opt.batch_size)
    workers = min(opt.num_threads, n_batches)
    return DataLoader(dataset, opt.batch_size, sampler=sampler, num_workers=workers, pin_memory=pin_memory,
                      persistent_workers=workers > 0)
