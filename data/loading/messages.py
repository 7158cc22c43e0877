"""What worker processes send: several batches in one message, as receiving a message costs as much as a small batch."""
import torch
from torch.utils.data import Dataset

from util.errors import UserError

from .collate import collate
from .sampler import EpochSampler, chunks


class MessageSampler:
    """Yields what one message holds: a list of `batches_per_message` batches, each a list of sampler keys."""

    def __init__(self, sampler: EpochSampler, batches_per_message: int):
        self.sampler = sampler
        self.batches_per_message = batches_per_message

    def __iter__(self):
        return chunks(self.sampler.batches(), self.batches_per_message)


class Messages(Dataset):
    """`dataset` read one message at a time: a list of batches, or one large batch and the sizes of its parts.

    A `UserError` is sent in place of the batch that raised it, and ends the message.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, key_batches: list[list]):
        sample_batches, error = [], None
        try:
            for keys in key_batches:
                sample_batches.append([self.dataset[key] for key in keys])
        except UserError as caught:
            error = caught
        samples = [sample for batch in sample_batches for sample in batch]
        if error is None and len(sample_batches) > 1 and can_be_one_batch(samples):
            return {'merged': collate(samples), 'sizes': [len(batch) for batch in sample_batches]}
        batches = [collate_or_error(batch) for batch in sample_batches]
        return batches if error is None else [*batches, error]


def collate_or_error(samples: list) -> dict | UserError:
    try:
        return collate(samples)
    except UserError as error:
        return error


def can_be_one_batch(samples: list) -> bool:
    """True if all samples could be read and consist of tensors of the same shapes and of strings."""
    if not all(isinstance(sample, dict) for sample in samples):
        return False
    signatures = {tuple((name, (value.dtype, value.shape) if torch.is_tensor(value) else type(value))
                        for name, value in sample.items()) for sample in samples}
    return len(signatures) == 1 and all(isinstance(kind, tuple) or kind is str for _, kind in signatures.pop())


def batches_of(messages):
    """The batches of all messages in order; an error is raised at the position of its batch."""
    for message in messages:
        for batch in split(message) if isinstance(message, dict) else message:
            if isinstance(batch, UserError):
                raise batch
            yield batch


def split(message: dict):
    start = 0
    for size in message['sizes']:
        yield {name: value[start:start + size] for name, value in message['merged'].items()}
        start += size
