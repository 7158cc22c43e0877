"""Signals at difficult moments: together, twice, while Python exits, after a pause. No traceback, correct exit code."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from util.machine import signals
from util.machine.signals import Signals
from util.monitors.timing import StepTimer

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='needs signals of Unix')

BEGIN = """
import atexit, os, signal, sys, time
from util.machine import signals
from util.machine.signals import Signals
me = os.getpid()
signal.signal(signal.SIGINT, signal.default_int_handler)     # whatever the tests inherited

def send(*names):
    '''Send several signals before Python handles the first one.'''
    numbers = [getattr(signal, name) for name in names]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        os.kill(me, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

def twice():
    time.sleep(signals.DUPLICATE_SECONDS + 0.1)
    send('SIGINT')

class Closing:
    '''Python prints an exception in __del__ and continues.'''
    def __del__(self):
        twice()
"""
PLACES = {
    'in the middle': 'with Signals() as asked:\n    send("SIGINT")\n    twice()\n    print("on")',
    'while something is closed': 'with Signals() as asked:\n    send("SIGINT")\n    Closing()\n    print("on")',
    'afterwards': 'with Signals() as asked:\n    send("SIGINT")\ntwice()\nprint("on")',
}


def program(text: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)"""
    done = subprocess.run([sys.executable, '-c', BEGIN + text], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          preexec_fn=lambda: [signal.signal(getattr(signal, name), signal.SIG_DFL)
                                              for name in (*signals.STOPPING, 'SIGUSR1')])
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(('names', 'code'), [(('SIGTERM', 'SIGINT'), 130), (('SIGTERM', 'SIGHUP'), 129)])
def test_two_signals_together_are_one_request(names, code):
    """Python calls their handlers in the order of their numbers."""
    text = f'with Signals() as asked:\n    send(*{names})\n    print(asked.stop)\nsys.exit(asked.exit_code)'
    assert program(text) == (code, f'{signal.Signals(code - 128).name}\n', '')


@pytest.mark.parametrize('place', PLACES)
def test_a_second_signal_exits_at_once(place):
    assert program(PLACES[place]) == (130, '', 'interrupted\n')


@pytest.mark.parametrize('name', signals.STOPPING)
def test_signals_while_python_exits_are_ignored(name):
    text = f'atexit.register(send, "{name}")\nwith Signals() as asked:\n    send("SIGINT")\ntime.sleep(0.3)\n'
    assert program(text + 'sys.exit(asked.exit_code)') == (130, '', '')


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP'])
def test_after_the_training_a_single_signal_exits(name):
    code, out, err = program(f'with Signals() as asked:\n    pass\nsend("{name}")\nprint("on")')
    assert (code, out, err) == (128 + getattr(signal, name), '', 'interrupted\n')


def test_the_handler_of_ctrl_c_is_restored_after_the_training():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Signals():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


FORKING = """
import os, signal
from util.machine.signals import ignore_signals, signals_blocked
received = []
signal.signal(signal.SIGINT, lambda number, _: received.append(number))
with signals_blocked():
    worker = os.fork()
    if worker == 0:
        os.kill(os.getpid(), signal.SIGINT)
        ignore_signals()
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(len(received))
    os.kill(os.getpid(), signal.SIGINT)
    assert not received
assert received == [signal.SIGINT]
assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
"""


def test_signals_while_a_worker_starts_reach_only_the_main_process():
    """The worker gets none, neither before nor after its call of `ignore_signals`. In a program with one thread."""
    done = subprocess.run([sys.executable, '-c', FORKING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, '')


def test_a_pause_is_not_counted():
    """The timer starts again at SIGCONT, so the time before it is left out."""
    before = signal.getsignal(signal.SIGCONT)
    try:
        timer = StepTimer()
        timer.data_arrived()
        timer.step_done(1)
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGCONT)
        time.sleep(0.05)
        timer.data_arrived()
        timer.step_done(1)
        report = timer.report()
    finally:
        signal.signal(signal.SIGCONT, before)
    assert 0.05 <= report['data'] * 2 < 1 and 0.05 <= report['time'] * 2 < 1
    assert report['images_per_s'] * report['time'] == pytest.approx(1) and 0 <= report['data_wait'] <= 1
