/* The viewer of all pages: two images on top of each other, with a slider between them, flicker, their difference, zoom
   to 1:1 and pan. */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/* All pairs [source, result] of images of which one was generated from the other. */
function sourcePairs(labels) {
  const results = labels.filter(label => /^(fake|rec|idt)/.test(label)), input = labels.find(label => !results.includes(label)) || labels[0];
  const isFromB = label => labels.includes('fake_A') && labels.includes('real_B') && /^(fake_A|rec_B|idt_A)$/.test(label);
  return results.map(label => [isFromB(label) ? 'real_B' : input, label]);
}

/* The pair to compare when the image `label` was clicked: with what it was made from, or what was made from it. */
function sourcePair(labels, label) {
  const known = sourcePairs(labels);
  return known.find(pair => pair[1] === label) || known.find(pair => pair[0] === label && pair[1].startsWith('fake'))
    || [labels[0], labels[0] === label ? labels[labels.length - 1] : label];
}

/* `source` has the items: item(k) is undefined or {name, files: {label: address}, size: [width, height] of the images,
   if it is known before they are loaded, scores(left, right): nodes}; count(), pair(k, label) and pairs(k) say which two
   images to compare; changed() and closed() are called after what their names say. */
class Viewer {
  static GRIP = 24;         // pixels around the line where a drag moves the slider of a zoomed image
  static MODES = [['slider', 'a slider between both'], ['flicker', 'both in turn (f)'], ['difference', 'their difference, 4 times as bright (d)']];

  constructor(source) {
    Object.assign(this, { source, at: -1, left: '', right: '', mode: 'slider', size: [1, 1], zoom: 1, x: 0, y: 0, pointers: new Map() });
    this.build();
  }

  get isOpen() { return this.dialog.open; }
  get item() { return this.source.item(this.at); }
  get isAlone() { return this.left === this.right; }        // one image, and nothing to compare it with

  build() {
    const button = (text, name, onclick, autofocus) => element('button', { type: 'button', 'aria-label': name, title: name, onclick, autofocus }, text);
    this.image = {}; this.tag = {}; this.link = {}; this.choice = {};
    for (const side of ['left', 'right']) {
      this.image[side] = element('img', { class: side, draggable: 'false', alt: '', onload: () => this.fit() });
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
    this.previous = button('‹', 'previous (left arrow)', () => this.showNeighbor(-1));
    this.next = button('›', 'next (right arrow)', () => this.showNeighbor(1));
    this.how = element('span', { class: 'row modes', role: 'group', 'aria-label': 'how to compare' }, ...this.modes);
    this.scores = element('div', { class: 'row' });
    this.pairs = element('div', { class: 'row pairs' });
    this.dialog = element('dialog', { class: 'viewer', 'aria-labelledby': 'viewer-name', onclose: () => this.source.closed() },
      element('div', { class: 'bar' }, this.name, this.place,
        element('span', { class: 'row', role: 'group', 'aria-label': 'zoom' }, button('−', 'zoom out (-)', () => this.zoomBy(1 / 1.5)), this.scale, button('+', 'zoom in (+)', () => this.zoomBy(1.5)),
          button('1:1', '1:1, one pixel of the image on one of the screen (z)', () => this.zoomTo(this.one)), button('fit', 'fit into the window (0)', () => this.zoomTo(1))),
        button('✕', 'close (Esc)', () => this.dialog.close(), true)),
      element('div', { class: 'middle' }, this.previous, element('div', { class: 'frame' }, this.stage), this.next),
      element('div', { class: 'bar below' }, this.choice.left, this.pairs, this.choice.right),
      element('div', { class: 'bar below' }, this.how, this.scores, element('span', { class: 'row' }, this.link.left, this.link.right)),
      element('p', { class: 'soft keys' }, '← → previous, next · ↑ ↓ slider · 1–9 right image, with Shift the left one · f flicker · d difference · + − 0 zoom, z 1:1, Shift and arrows or drag to pan · Esc close'));
    this.stage.addEventListener('pointerdown', event => this.onDown(event));
    this.stage.addEventListener('pointermove', event => this.onMove(event));
    for (const end of ['pointerup', 'pointercancel']) this.stage.addEventListener(end, event => this.pointers.delete(event.pointerId));
    this.stage.addEventListener('dblclick', event => this.zoomTo(this.zoom === 1 ? Math.max(this.one, 2.5) : 1, event));
    this.stage.addEventListener('wheel', event => { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY * 0.0015), event); }, { passive: false });
    document.addEventListener('keydown', event => this.onKey(event));
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
    this.at = clamp(this.at + by, 0, this.source.count() - 1);
    this.draw();
    for (const near of [1, -1]) {       // preload the neighbors
      const files = this.source.item(this.at + near)?.files || {};
      for (const label of [this.left, this.right]) if (files[label]) new Image().src = files[label];
    }
  }

  draw() {
    const item = this.item;
    if (!item) return this.close();
    const labels = Object.keys(item.files), count = this.source.count();
    if (!item.files[this.left] || !item.files[this.right]) [this.left, this.right] = this.source.pair(this.at, labels[0]);
    this.name.textContent = item.name;
    this.place.textContent = `${(this.at + 1).toLocaleString('en')} of ${count.toLocaleString('en')}`;
    this.previous.hidden = this.next.hidden = this.place.hidden = count < 2;
    this.previous.disabled = this.at === 0;
    this.next.disabled = this.at === count - 1;
    this.scores.replaceChildren(...item.scores(this.left, this.right));
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
    for (const part of [this.choice.left, this.choice.right, this.how]) part.hidden = labels.length < 2;
    this.pairs.hidden = labels.length < 3;
    this.link.left.hidden = this.isAlone;
    this.stage.classList.toggle('alone', this.isAlone);
    for (const [mode] of Viewer.MODES) this.stage.classList.toggle(mode, mode === this.mode && !this.isAlone);
    for (const button of this.modes) button.setAttribute('aria-pressed', String(button.dataset.mode === this.mode));
    this.drawSlider();
    this.fit();
    this.source.changed();
  }

  /* Give the stage the shape of the images. Those of another size are shown whole, otherwise the same region is. */
  fit() {
    const { naturalWidth, naturalHeight } = this.image.right, loaded = naturalWidth ? [naturalWidth, naturalHeight] : this.size;
    const size = this.item?.size || loaded;
    if (String(size) !== String(this.size)) { this.zoom = 1; this.x = this.y = 0; }
    this.size = size;
    this.stage.style.setProperty('--ratio', size[0] / size[1]);
    this.drawZoom();
  }

  drawSlider() {
    this.stage.style.setProperty('--cut', `${this.range.value}%`);
    this.range.setAttribute('aria-valuetext', `${this.range.value} % ${this.left}, ${100 - this.range.value} % ${this.right}`);
  }

  // ---- zoom, where 1 fits the image into the stage

  get one() { return this.size[0] / (this.stage.clientWidth * devicePixelRatio || 1); }

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
    const pans = this.isAlone || this.mode !== 'slider' || (this.zoom > 1.001 && Math.abs(event.clientX - line) > Viewer.GRIP);
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

  onKey(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey || event.target.matches('select')) return;
    if (this.key(event)) event.preventDefault();
  }

  /* True if the key means something here. */
  key(event) {
    const labels = Object.keys(this.item.files), digit = Number(/^Digit([1-9])$/.exec(event.code)?.[1]);
    const mode = { f: 'flicker', d: 'difference' }[event.key.toLowerCase()];
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
