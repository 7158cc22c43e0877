/* A viewer of two images on top of each other: a slider between them, flicker, their difference, zoom to 1:1 and pan.
   Names are inserted as text, never as HTML. */
'use strict';

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/* `source` has the items: item(k) is {name, size: [width, height], files: {label: address}, scores: [nodes]} or
   undefined, count(), pair(k, label) and pairs(k) say which two images to compare, changed() and closed() are called
   after what their names say. */
class Viewer {
  static GRIP = 24;         // pixels around the line where a drag moves the slider of a zoomed image
  static MODES = [['slider', 'a slider between both'], ['flicker', 'both in turn (f)'], ['difference', 'their difference, 4 times as bright (d)']];

  constructor(source) {
    Object.assign(this, { source, at: -1, left: '', right: '', mode: 'slider', zoom: 1, x: 0, y: 0, pointers: new Map() });
    this.build();
  }

  get isOpen() { return this.dialog.open; }
  get item() { return this.source.item(this.at); }

  build() {
    const button = (text, name, onclick) => element('button', { type: 'button', 'aria-label': name, title: name, onclick }, text);
    this.image = {}; this.tag = {}; this.link = {}; this.choice = {};
    for (const side of ['left', 'right']) {
      this.image[side] = element('img', { class: side, draggable: 'false', alt: '' });
      this.tag[side] = element('span', { class: `tag ${side}` });
      this.link[side] = element('a', { target: '_blank', rel: 'noopener' });
      this.choice[side] = element('select', { 'aria-label': `${side} image`, onchange: event => this.choose({ [side]: event.target.value }) });
    }
    this.range = element('input', { type: 'range', min: 0, max: 100, step: 1, 'aria-label': 'share of the left image that is shown', oninput: () => this.drawSlider() });
    this.modes = Viewer.MODES.map(([mode, title]) => element('button', { type: 'button', title, 'data-mode': mode, 'aria-pressed': 'false', onclick: () => this.setMode(mode) }, mode));
    this.stage = element('div', { class: 'stage' },
      element('div', { class: 'layer right' }, this.image.right), element('div', { class: 'layer left' }, this.image.left),
      element('div', { class: 'line' }), this.tag.left, this.tag.right, this.range);
    this.scale = element('output', { class: 'soft', 'aria-label': 'zoom' });
    this.name = element('h2', { id: 'viewer-name' });
    this.place = element('span', { class: 'soft' });
    this.scores = element('div', { class: 'row' });
    this.pairs = element('div', { class: 'row pairs' });
    this.dialog = element('dialog', { class: 'viewer', 'aria-labelledby': 'viewer-name', onclose: () => this.source.closed() },
      element('div', { class: 'bar' }, this.name, this.place,
        element('span', { class: 'row', role: 'group', 'aria-label': 'zoom' }, button('−', 'zoom out (-)', () => this.zoomBy(1 / 1.5)), this.scale, button('+', 'zoom in (+)', () => this.zoomBy(1.5)),
          button('1:1', '1:1, one pixel of the image on one of the screen (z)', () => this.zoomTo(this.one)), button('fit', 'fit into the window (0)', () => this.zoomTo(1))),
        button('✕', 'close (Esc)', () => this.dialog.close())),
      element('div', { class: 'middle' }, button('‹', 'previous (left arrow)', () => this.showNeighbor(-1)), this.stage, button('›', 'next (right arrow)', () => this.showNeighbor(1))),
      element('div', { class: 'bar below' }, this.choice.left, this.pairs, this.choice.right),
      element('div', { class: 'bar below' }, element('span', { class: 'row modes', role: 'group', 'aria-label': 'how to compare' }, ...this.modes), this.scores, element('span', { class: 'row' }, this.link.left, this.link.right)),
      element('p', { class: 'soft keys' }, '← → previous, next · ↑ ↓ slider · 1–9 right image, with Shift the left one · f flicker · d difference · + − 0 zoom, z 1:1, Shift and arrows or drag to pan · Esc close'));
    this.stage.addEventListener('pointerdown', event => this.onDown(event));
    this.stage.addEventListener('pointermove', event => this.onMove(event));
    for (const end of ['pointerup', 'pointercancel']) this.stage.addEventListener(end, event => this.pointers.delete(event.pointerId));
    this.stage.addEventListener('dblclick', event => this.zoomTo(this.zoom === 1 ? Math.max(this.one, 2.5) : 1, event));
    this.stage.addEventListener('wheel', event => { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY * 0.0015), event); }, { passive: false });
    new ResizeObserver(() => this.drawZoom()).observe(this.stage);
    document.body.append(this.dialog);
  }

  // ---- which images

  /* Open result `at` at the image `label`, or with the given images and mode. */
  show(at, label, { left, right, mode } = {}) {
    const fresh = !this.isOpen;
    this.at = at;
    [this.left, this.right] = this.source.pair(at, label);
    if (left && right) { this.left = left; this.right = right; }
    if (mode || fresh) this.mode = Viewer.MODES.some(([name]) => name === mode) ? mode : 'slider';
    if (fresh) this.range.value = 50;
    this.zoom = 1; this.x = this.y = 0;
    this.draw();
    if (fresh && this.item) { this.dialog.showModal(); this.range.focus(); this.drawZoom(); }
  }

  close() { if (this.isOpen) this.dialog.close(); }

  choose(sides) {
    Object.assign(this, sides);
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.draw();
  }

  showNeighbor(by) {
    const size = String(this.item.size);
    this.at = clamp(this.at + by, 0, this.source.count() - 1);
    if (String(this.item.size) !== size) { this.zoom = 1; this.x = this.y = 0; }      // otherwise the same region
    this.draw();
    for (const near of [1, -1]) {       // preload the neighbors
      const files = this.source.item(this.at + near)?.files || {};
      for (const label of [this.left, this.right]) if (files[label]) new Image().src = files[label];
    }
  }

  draw() {
    const item = this.item;
    if (!item) return this.close();
    const labels = Object.keys(item.files);
    if (!item.files[this.left] || !item.files[this.right]) [this.left, this.right] = this.source.pair(this.at, labels[0]);
    this.name.textContent = item.name;
    this.place.textContent = `${(this.at + 1).toLocaleString('en')} of ${this.source.count().toLocaleString('en')}`;
    this.scores.replaceChildren(...item.scores(this.left, this.right));
    this.stage.style.setProperty('--ratio', item.size[0] / item.size[1]);
    for (const side of ['left', 'right']) {
      const label = this[side];
      if (this.image[side].getAttribute('src') !== item.files[label]) this.image[side].src = item.files[label];
      this.image[side].alt = `${label} of ${item.name}`;
      this.tag[side].textContent = label;
      this.choice[side].replaceChildren(...labels.map((name, k) => element('option', { value: name, selected: name === label }, `${k < 9 ? `${k + 1} ` : ''}${name}`)));
      this.link[side].href = item.files[label];
      this.link[side].textContent = `open ${label}`;
    }
    this.pairs.replaceChildren(...this.source.pairs(this.at).map(([left, right]) => element('button', {
      type: 'button', 'aria-pressed': String(left === this.left && right === this.right), onclick: () => this.choose({ left, right }) }, `${left} | ${right}`)));
    for (const [mode] of Viewer.MODES) this.stage.classList.toggle(mode, mode === this.mode);
    for (const button of this.modes) button.setAttribute('aria-pressed', String(button.dataset.mode === this.mode));
    this.drawSlider();
    this.drawZoom();
    this.source.changed();
  }

  drawSlider() {
    this.stage.style.setProperty('--cut', `${this.range.value}%`);
    this.range.setAttribute('aria-valuetext', `${this.range.value} % ${this.left}, ${100 - this.range.value} % ${this.right}`);
  }

  // ---- zoom, where 1 fits the image into the stage

  get one() { return this.item.size[0] / (this.stage.clientWidth * devicePixelRatio || 1); }

  zoomBy(factor, event) { this.zoomTo(this.zoom * factor, event); }

  /* Zoom around the pointer of the event, or around the middle. */
  zoomTo(zoom, event) {
    const box = this.stage.getBoundingClientRect(), one = this.one;
    const px = event ? event.clientX - box.left : box.width / 2, py = event ? event.clientY - box.top : box.height / 2;
    const next = clamp(zoom, Math.min(1, one), Math.max(8, 8 * one));
    this.x = px - (px - this.x) * next / this.zoom;
    this.y = py - (py - this.y) * next / this.zoom;
    this.zoom = next;
    this.drawZoom();
  }

  panBy(x, y) {
    this.x += x;
    this.y += y;
    this.drawZoom();
  }

  drawZoom() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !this.item) return;
    const within = (at, size) => this.zoom >= 1 ? clamp(at, size * (1 - this.zoom), 0) : size * (1 - this.zoom) / 2;
    this.x = within(this.x, width);
    this.y = within(this.y, height);
    for (const side of ['left', 'right']) this.image[side].style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    const share = this.zoom / this.one;       // pixels of the screen for one of the image
    this.stage.classList.toggle('zoomed', this.zoom > 1.001);
    this.stage.classList.toggle('coarse', share >= 2);
    this.scale.textContent = `${Math.round(100 * share)} %`;
  }

  // ---- mouse, fingers and keys

  onDown(event) {
    if (event.button) return;
    const box = this.stage.getBoundingClientRect(), line = box.left + box.width * this.range.value / 100;
    this.pointers.set(event.pointerId, event);
    this.stage.setPointerCapture(event.pointerId);
    const pans = this.mode !== 'slider' || (this.zoom > 1.001 && Math.abs(event.clientX - line) > Viewer.GRIP);
    this.drag = this.pointers.size > 1 ? 'pinch' : pans ? 'pan' : 'slide';
    if (this.drag === 'slide') this.slideTo(event);
    this.range.focus({ preventScroll: true });
    event.preventDefault();
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.drag === 'slide') this.slideTo(event);
    else if (this.drag === 'pan') this.panBy(event.clientX - before.clientX, event.clientY - before.clientY);
    else {
      const other = [...this.pointers.values()].find(one => one.pointerId !== event.pointerId);
      if (other) {
        const distance = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        this.zoomBy(distance(event) / distance(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
      }
    }
    this.pointers.set(event.pointerId, event);
  }

  slideTo(event) {
    const box = this.stage.getBoundingClientRect();
    this.range.value = Math.round(100 * (event.clientX - box.left) / box.width);
    this.drawSlider();
  }

  /* True if the key means something here. */
  key(event) {
    const labels = Object.keys(this.item.files), digit = Number(/^Digit([1-9])$/.exec(event.code)?.[1]);
    const mode = { f: 'flicker', d: 'difference' }[event.key];
    const [x, y] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] || [0, 0];
    if (mode) this.setMode(this.mode === mode ? 'slider' : mode);
    else if ((x || y) && event.shiftKey) this.panBy(60 * x, 60 * y);
    else if (x) this.showNeighbor(-x);
    else if (y) {
      this.range.value = Number(this.range.value) + 5 * y;
      this.drawSlider();
    } else if (event.key === '+' || event.key === '=') this.zoomBy(1.5);
    else if (event.key === '-') this.zoomBy(1 / 1.5);
    else if (event.key === '0') this.zoomTo(1);
    else if (event.key === 'z') this.zoomTo(this.one);
    else if (digit && labels[digit - 1]) this.choose({ [event.shiftKey ? 'left' : 'right']: labels[digit - 1] });
    else return false;
    return true;
  }
}
