"""What worker processes send: several batches at once, each image list as one tensor, so that little is sent often."""
from itertools import islice

import torch
from torch.utils.data import Dataset, Sampler

from data.base_dataset import collate
from util.errors import UserError


class MessageSampler(Sampler):
    """The keys of a sampler as messages: lists of the keys of each batch."""

    def __init__(self, sampler, batch_size: int, batches: int):
        self.sampler, self.batch_size, self.batches = sampler, batch_size, batches

    def __iter__(self):
        keys = iter(self.sampler)
        groups = iter(lambda: list(islice(keys, self.batch_size)), [])
        yield from iter(lambda: list(islice(groups, self.batches)), [])

    def __len__(self):
        return -(-len(self.sampler) // (self.batch_size * self.batches))


class Messages(Dataset):
    """`dataset` read by the message: a list of batches, or one large batch and the sizes of its parts.

    A `UserError` takes the place of the batch that it was raised for, and ends the message.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, groups: list[list]):
        samples, batches = [], []
        try:
            for keys in groups:
                samples.append([self.dataset[key] for key in keys])
        except UserError as error:
            batches = [error]
        together = [sample for group in samples for sample in group]
        if len(samples) > 1 and not batches and alike(together):
            return {'together': collate(together), 'sizes': [len(group) for group in samples]}
        return [collated(group) for group in samples] + batches


def collated(samples: list) -> dict | UserError:
    try:
        return collate(samples)
    except UserError as error:
        return error


def alike(samples: list) -> bool:
    """Are they all read, of the same kind and of the same sizes, so that one batch can hold them?"""
    if not all(isinstance(sample, dict) for sample in samples):
        return False
    kinds = {tuple((name, (value.dtype, value.shape) if torch.is_tensor(value) else type(value))
                   for name, value in sample.items()) for sample in samples}
    return len(kinds) == 1 and all(isinstance(kind, tuple) or kind is str for _, kind in kinds.pop())


def batches_of(messages):
    """The batches in messages, in their order; an error is raised where its batch would have come."""
    for message in messages:
        for batch in parts(message) if isinstance(message, dict) else message:
            if isinstance(batch, UserError):
                raise batch
            yield batch


def parts(message: dict):
    start = 0
    for size in message['sizes']:
        yield {name: value[start:start + size] for name, value in message['together'].items()}
        start += size
