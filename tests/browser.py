"""A headless Chromium for tests of pages, driven through its DevTools protocol."""
import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--allow-file-access-from-files', '--hide-scrollbars',
         '--remote-debugging-port=0', '--remote-allow-origins=*')
PATIENCE = 30       # seconds that a busy machine may take


def require() -> tuple[str, object]:
    """The browser's program and the module websocket; the test is skipped where one is missing."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'no browser: none of {", ".join(NAMES)} is installed')
    return program, pytest.importorskip('websocket', reason='the browser is driven by websocket-client (of visdom)')


class Browser:
    """One page: `with Browser(folder) as page: page.open(path); page.eval('document.title')`.

    `page.errors` are exceptions, messages of the console and refusals of the page's security policy.
    """

    def __init__(self, folder: Path, *flags: str):
        self.program, self.websocket = require()
        self.folder, self.flags, self.number, self.errors = Path(folder) / 'browser', flags, 0, []

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [self.program, *FLAGS, *self.flags, f'--user-data-dir={self.folder}', 'about:blank']
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if hasattr(self, 'socket'):
            self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connect(self):
        """To the browser, and through it to a new page of its own."""
        port_file = self.folder / 'DevToolsActivePort'
        wait_for(lambda: port_file.exists() and len(port_file.read_text(encoding='utf-8').split('\n')) == 2,
                 'the browser did not start')
        port, path = port_file.read_text(encoding='utf-8').split('\n')
        self.socket = self.websocket.create_connection(f'ws://127.0.0.1:{port}{path}', timeout=PATIENCE,
                                                       http_no_proxy=['127.0.0.1'])
        self.session = None
        target = self.send('Target.createTarget', url='about:blank')['targetId']
        self.session = self.send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log'):
            self.send(f'{domain}.enable')
        self.size(1280, 900)

    def send(self, method: str, **parameters) -> dict:
        """Call a method of the protocol and return its result."""
        self.number += 1
        session = {'sessionId': self.session} if self.session else {}
        self.socket.send(json.dumps({'id': self.number, 'method': method, 'params': parameters, **session}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get('id') == self.number:
                assert 'error' not in message, f'{method}: {message["error"]}'
                return message['result']
            self.hear(message)

    def hear(self, message: dict):
        about = message.get('params', {})
        if message.get('method') == 'Runtime.exceptionThrown':
            details = about['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description', details['text']))
        if message.get('method') == 'Log.entryAdded' and about['entry']['level'] == 'error':
            self.errors.append(about['entry']['text'])

    def open(self, path):
        """A file or an address; returns when the page has loaded."""
        self.send('Page.navigate', url=Path(path).absolute().as_uri() if isinstance(path, Path) else path)
        self.wait('document.readyState === "complete" && location.href !== "about:blank"')

    def eval(self, script: str):
        """The value of an expression of JavaScript, as JSON has it."""
        found = self.send('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in found, found['exceptionDetails']
        return found['result'].get('value')

    def wait(self, script: str):
        """Until an expression is true."""
        wait_for(lambda: self.eval(script), f'not so after {PATIENCE} s: {script}')

    def size(self, width: int, height: int, scale: float = 1, mobile: bool = False):
        self.send('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=scale,
                  mobile=mobile)

    def dark(self, dark: bool = True):
        feature = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
        self.send('Emulation.setEmulatedMedia', features=[feature])

    def without_javascript(self):
        """For the pages opened from now on."""
        self.send('Emulation.setScriptExecutionDisabled', value=True)

    def place(self, selector: str, along: float = 0.5) -> tuple[float, float]:
        """Where an element is on the screen: its middle, or a part of its width from the left."""
        box = self.eval(f'(() => {{ const e = document.querySelector({json.dumps(selector)});'
                        'if (!e) return null; e.scrollIntoView({block: "nearest"});'
                        'const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()')
        assert box, f'the page has no {selector}'
        return box[0] + along * box[2], box[1] + box[3] / 2

    def mouse(self, kind: str, x: float, y: float, buttons: int = 1):
        self.send('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', buttons=buttons, clickCount=1)

    def click(self, selector: str, along: float = 0.5):
        self.drag(selector, along, along)

    def drag(self, selector: str, start: float, end: float):
        """Press on an element at a part of its width, move to another and let go."""
        x, y = self.place(selector, start)
        self.mouse('mouseMoved', x, y, 0)
        self.mouse('mousePressed', x, y)
        if end != start:
            self.mouse('mouseMoved', *self.place(selector, end))
        self.mouse('mouseReleased', *self.place(selector, end), 0)

    def key(self, key: str, code: str = '', shift: bool = False):
        """Press a key: 'Escape', 'ArrowRight', '/', '1'."""
        codes = {'Escape': 27, 'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40, 'Enter': 13}
        text = {} if key in codes and key != 'Enter' else {'text': '\r' if key == 'Enter' else key}
        about = {'key': key, 'code': code or (f'Digit{key}' if key.isdigit() else key), 'modifiers': 8 * shift,
                 'windowsVirtualKeyCode': codes.get(key, ord(key[0]))}
        self.send('Input.dispatchKeyEvent', type='keyDown', **about, **text)
        self.send('Input.dispatchKeyEvent', type='keyUp', **about)

    def write(self, text: str):
        """Into what has the focus."""
        self.send('Input.insertText', text=text)

    def screenshot(self, path, kind: str = 'png', **more) -> Path:
        data = self.send('Page.captureScreenshot', format=kind, **more)['data']
        Path(path).write_bytes(base64.b64decode(data))
        return Path(path)


def wait_for(true, otherwise: str):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)
