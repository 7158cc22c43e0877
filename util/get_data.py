"""`GetData(technique).get('./datasets', dataset='facades')`, as scripts of the reference call it."""
import subprocess
import sys
from pathlib import Path

DOWNLOADER = Path(__file__).resolve().parents[1] / 'datasets' / 'download_dataset.py'


class GetData:
    """Downloads public datasets with datasets/download_dataset.py.

    Args:
        technique: unpaired images or pairs, in the words of its --kind; None if the name of the dataset says it.
        verbose: show the progress of the download.
    """

    def __init__(self, technique: str | None = None, verbose: bool = True):
        self.kind = ['--kind', technique.lower()] if technique else []
        self.verbose = verbose

    def get(self, save_path, dataset: str | None = None) -> str:
        """Download `dataset` to `<save_path>/<dataset>`, and return that folder; without a name, ask for one."""
        if dataset is None:
            dataset = input(f'name of the dataset (python {DOWNLOADER} --help lists them): ').strip()
        words = [sys.executable, str(DOWNLOADER), dataset, *self.kind, '--datasets_dir', str(save_path)]
        subprocess.run(words, check=True, stdout=None if self.verbose else subprocess.DEVNULL)
        return str(Path(save_path) / dataset)
