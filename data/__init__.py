"""Datasets: `--dataset_mode foo` is the class FooDataset of data/foo_dataset.py; template_dataset.py shows how."""
import os

from util.registry import Registry
from util.signals import leave_to_main_process

registry = Registry(package='data', kind='dataset', option='dataset_mode')


def create_dataset(opt):
    """The dataset that the options ask for."""
    return registry.load(opt.dataset_mode)(opt)


def create_loader(dataset, opt, size: int | None = None, pin_memory: bool = False):
    """Batches of `dataset`, or of its first `size` samples: {'A': (N, C, H, W), 'A_paths': [...], ...}.

    `loader.sampler.set_epoch(epoch)` chooses the order and the augmentation of an epoch.
    """
    import torch

    from data.base_dataset import EpochSampler, collate
    sampler = EpochSampler(size or len(dataset), shuffle=not opt.serial_batches, seed=opt.seed)
    n_batches = -(-len(sampler) // opt.batch_size)
    workers = min(opt.num_threads, n_batches, os.cpu_count() or 1)
    # a generator of its own: else every epoch would draw from, and change, the generator of the training
    return torch.utils.data.DataLoader(
        dataset, opt.batch_size, sampler=sampler, num_workers=workers, collate_fn=collate, pin_memory=pin_memory,
        persistent_workers=workers > 0, generator=torch.Generator(), worker_init_fn=leave_to_main_process)
