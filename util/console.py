"""What a process prints: lines on stdout, warnings and notes on stderr, progress. Standard library only, tqdm apart.

Code anywhere calls `say`, `note` and `warn`, which write to the loggers `pixmorph.output` and `pixmorph`. A
program prints them with a `Console`; in a notebook the `logging` module decides, as for every library.
"""
import contextlib
import logging
import os
import sys

# what ends a line, or what a terminal obeys; file names may contain it
CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029) if chr(code) != '\t'}
MESSAGES = logging.getLogger('pixmorph')
OUTPUT = logging.getLogger('pixmorph.output')


def printable(text: str) -> str:
    r"""`text` on one line, with control characters written as \n, \x1b, ..."""
    return text.translate(CONTROLS)


def counted(number: int, noun: str) -> str:
    """'1 image', '2 images'."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def warn(message: str):
    """One line on stderr about something that may not be what the user wants; the program continues."""
    MESSAGES.warning('%s', message)


def note(message: str):
    """One line on stderr that is good to know."""
    MESSAGES.info('%s', message)


def say(text: str):
    """Lines on stdout."""
    OUTPUT.info('%s', text)


class Console(logging.Handler):
    """Prints what `say`, `note` and `warn` hand over; `util.cli.run` attaches it for as long as a program runs.

    With several processes the first one prints for all: the others are `silent`, or begin each line with
    their `prefix`. `crash_folder` is where the traceback of an internal error is written: the run folder, if known.
    """

    def __init__(self):
        super().__init__()
        self.silent = False
        self.prefix = ''
        self.crash_folder = None

    @contextlib.contextmanager
    def attached(self):
        before = MESSAGES.level, MESSAGES.propagate, MESSAGES.handlers
        self.attach()
        try:
            yield self
        finally:
            MESSAGES.setLevel(before[0])
            MESSAGES.propagate = before[1]
            MESSAGES.handlers = before[2]

    def attach(self):
        MESSAGES.setLevel(logging.INFO)
        MESSAGES.propagate = False      # a library that sets up the root logger would print each line again
        MESSAGES.handlers = [self]

    def emit(self, record):
        if self.silent:
            return
        if record.name == OUTPUT.name:
            write_lines(record.getMessage())
        else:
            self.message('note' if record.levelno < logging.WARNING else 'warning', record.getMessage())

    def message(self, kind: str, text: str):
        """One line on stderr, silent or not."""
        print(printable(f'{kind}: {self.prefix}{text}'), file=sys.stderr, flush=True)


def write_lines(text: str):
    """Print lines above the progress bar. If stdout is gone or its disk is full, work continues without it."""
    from tqdm import tqdm
    try:
        tqdm.write('\n'.join(map(printable, text.split('\n'))), file=sys.stdout)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_duration(seconds: float) -> str:
    """'3 d 4 h', '2 h 5 min', '40 s'."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    hours, minutes = divmod(round(seconds / 60), 60)
    days, hours = divmod(hours, 24)
    if days:
        return f'{days} d {hours} h'
    return f'{hours} h {minutes} min' if hours else f'{minutes} min'


class ProgressBar:
    """Counts images up to `total` with the time left on a terminal; `line` prints above the bar."""

    def __init__(self, total: int, done: int = 0):
        from tqdm import tqdm
        self.done = done
        self.bar = tqdm(total=total, initial=done, unit='img', dynamic_ncols=True, smoothing=0.05,
                        disable=not sys.stderr.isatty())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def advance(self, n_images: int, description: str = ''):
        self.done += n_images
        if not self.bar.disable:
            self.bar.set_description(description, refresh=False)
            self.bar.update(n_images)

    def show(self, text: str):
        """Show a text at the end of the bar, from its next update on."""
        self.bar.set_postfix_str(text, refresh=False)

    def line(self, text: str, terminal: bool = True):
        """Print a line; with `terminal=False` only where no bar shows the same."""
        if terminal or self.bar.disable:
            say(text)
