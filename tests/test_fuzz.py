"""Random command lines, images and checkpoints: never a traceback, a hang, or exit code 0 with nothing done."""
import fuzzing
import pytest

CASES = 6           # of each kind; scripts/soak.py --fuzz 500 does more


@pytest.fixture(scope='module')
def fuzz(server, home, tmp_path_factory):
    return fuzzing.Fuzz(server, home, tmp_path_factory.mktemp('fuzz'))


@pytest.mark.parametrize('kind', ['options', 'images', 'checkpoints'])
def test_every_case_ends_with_a_clear_result(kind, fuzz):
    """There is more than one exit code, so the cases are not all refused at once."""
    fuzz.codes.clear()
    assert [wrong for number in range(CASES) if (wrong := getattr(fuzz, kind)(number))] == []
    assert len(fuzz.codes) > 1


@pytest.mark.parametrize(('code', 'err', 'wrong'), [
    (None, '', 'hangs'), (1, 'error: internal error: KeyError', 'exit code 1'), (2, '', 'without an error'),
    (2, 'error: x\nTraceback (most recent', 'traceback'), (0, '', 'nothing done'), (-11, '', 'exit code -11'),
    (0, 'error: x', 'exit code 0'), (2, 'error: x', ''), (4, 'warning: y\nerror: x', '')])
def test_the_verdict_finds_bad_answers(code, err, wrong, tmp_path):
    from faults import Done
    found = fuzzing.verdict(Done(code, '', err, 0.0, 0), tmp_path)
    assert wrong in found and bool(wrong) == bool(found)
