"""What the documents say exists: links, anchors, files in commands, and options."""
import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from options import TestOptions, TrainOptions
from options.parser import ALIASES, REPLACED

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
FENCE = re.compile(r'^```[^\n]*\n(.*?)^```', re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'(?:^|\s)(?:(?:\S*/)?python3?|--)\s+((?:\S+/)?\w+\.py)\b(.*)')
# programs that hand options on to pytest
PASSED_ON = {'scripts/run_tests.py'}


@cache
def documents() -> list[Path]:
    tracked = subprocess.run(['git', 'ls-files', '*.md'], cwd=ROOT, capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in tracked] or [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of headings, as the usual hosts make them."""
    text = FENCE.sub('', path.read_text(encoding='utf-8'))
    headings = re.findall(r'^#+ +(.+?) *$', text, re.MULTILINE)
    plain = [re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading) for heading in headings]
    slugs = [re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in plain]
    return {*slugs, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}


def commands(text: str):
    """(program, rest of the command) for each call of one of our programs in a code block."""
    for block in FENCE.findall(text):
        for line in block.replace('\\\n', ' ').splitlines():
            for match in COMMAND.finditer(line.partition('  #')[0]):
                yield match[1], match[2]


@cache
def known_options() -> set[str]:
    """All options of train.py and test.py, with those of every model and dataset, and older names."""
    found = {'-h', '--help', *ALIASES, *REPLACED}
    for options in (TrainOptions(), TestOptions()):
        found |= {*options.build_parser([])._option_string_actions, *options.options_of_other_programs()}
    return found | {'--input', '--output', '--tile', '--tile_overlap'}      # of test.py --input


@cache
def source_of(program: str) -> str:
    """The text in which a program's options are: its own, and of the folders next to it that it imports from."""
    path = ROOT / program
    shared = [*(ROOT / 'scripts').glob('*/*.py'), *(ROOT / 'options').glob('*.py')]
    return '\n'.join(file.read_text(encoding='utf-8') for file in (path, *shared))


@pytest.mark.parametrize('name', [name_of(path) for path in documents()])
def test_links_lead_somewhere(name):
    path = ROOT / name
    broken = []
    for target in LINK.findall(FENCE.sub('', path.read_text(encoding='utf-8'))):
        if re.match(r'\w+:', target):       # of the web
            continue
        file, _, anchor = unquote(target).partition('#')
        place = (path.parent / file).resolve() if file else path
        if not place.exists() or (anchor and place.suffix == '.md' and anchor not in anchors(place)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize('name', [name_of(path) for path in documents()])
def test_commands_have_options_that_exist(name):
    for program, rest in commands((ROOT / name).read_text(encoding='utf-8')):
        if program not in ('train.py', 'test.py') and not (ROOT / program).exists():
            assert not program.startswith(('scripts/', 'datasets/')), f'{program} does not exist'
            continue
        options = set(re.findall(r'(?<=\s)(--[\w-]+)', rest.split(' | ')[0].split(' && ')[0]))
        if program in ('train.py', 'test.py'):
            assert not options - known_options(), program
        elif program not in PASSED_ON:
            assert not [option for option in options - known_options()
                        if f"{option}'" not in source_of(program)], program


def test_this_finds_mistakes(tmp_path):
    text = '```\npython train.py --lrr 3 \\\n    --epocs 2   # --comment\n.venv/bin/python scripts/x.py --y\n```\n'
    assert [(program, rest.split()) for program, rest in commands(text)] == [
        ('train.py', ['--lrr', '3', '--epocs', '2']), ('scripts/x.py', ['--y'])]
    page = tmp_path / 'page.md'
    page.write_text('# A `b` c: d\n```\n# no heading\n```\n## [link](x.md) 2\n', encoding='utf-8')
    assert anchors(page) == {'a-b-c-d', 'link-2'}
    assert len(documents()) > 15 and {'--lambda_L1', '--num_test', '--niter'} <= known_options()


def test_the_manifest_for_kubernetes_starts_a_training(tmp_path):
    """Its options of train.py exist; torchrun gets as many machines as there are pods."""
    text = (ROOT / 'scripts' / 'kubernetes_train.yaml').read_text(encoding='utf-8')
    (tmp_path / 'maps').mkdir()
    words = re.findall(r'^            - (\S+)', text, re.MULTILINE)
    training = words[words.index('train.py') + 1:]
    opt = TrainOptions().parse([word.replace('/shared', str(tmp_path)) for word in training if word.startswith('--')])
    assert (opt.name, opt.model, '--continue_train=auto' in training) == ('maps', 'cyclegan', True)
    machines, pods = re.search(r'--nnodes=(\d+)', text)[1], re.findall(r'(?:completions|parallelism): (\d+)', text)
    assert pods == [machines, machines]
