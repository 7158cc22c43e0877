/* The gallery of a results folder, or of several (scripts/compare.py): filter, sort, pages, and a viewer that compares
   two images of a result by a slider, by flicker, or by their difference.
   It loads results.js and data/*.js, which call pixmorph.summary(...) and pixmorph.results(...).
   Names of files and images are inserted as text, never as HTML. */
'use strict';

const pixmorph = (() => {
  const PER_PAGE = 48, PARALLEL_LOADS = 8;
  const MIN_SIZE = 48, MAX_SIZE = 384, LEGIBLE_SIZE = 72;
  const state = { summary: null, chunks: [], missing: [], all: [], shown: [], page: 0, label: '', open: -1, left: '', right: '', mode: 'slider' };
  const view = {};

  document.documentElement.classList.add('js');     // hides the plain grid before the first paint

  // ---- helpers

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

  const url = file => file.split('/').map(encodeURIComponent).join('/');
  const count = number => number.toLocaleString('en');
  const metric = value => value === undefined ? '–' : value === null ? '∞' : Number(value.toPrecision(4)).toString();
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const metricNames = () => Object.keys(state.summary.notes).filter(name => name in state.summary.means);
  const labelsOf = item => Object.keys(item.files);
  const preview = (item, label) => url((item.thumbs || {})[label] || item.files[label]);

  // ---- data

  function summary(found) {
    state.summary = found;
  }

  function results(number, items) {
    items.forEach((item, index) => {
      item.number = (number - 1) * state.summary.page + index;
      item.key = item.stem.toLowerCase();
    });
    state.chunks[number - 1] = items;
  }

  function loadAll() {
    const chunks = Math.ceil(state.summary.count / state.summary.page);
    let next = 1, done = 0;
    const loadNext = () => {
      if (next > chunks) return;
      const number = next++, file = `data/${String(number).padStart(4, '0')}.js`;
      const onDone = () => {
        done += 1;
        if (done === chunks || done < 4 || done % 10 === 0) refresh();
        loadNext();
      };
      const script = element('script', { src: file, onload: onDone, onerror: () => { state.missing.push(file); onDone(); } });
      document.head.append(script);
    };
    for (let k = 0; k < PARALLEL_LOADS; k++) loadNext();
  }

  // ---- filtering and sorting

  function comparison(key, backwards) {
    const best = ({ PSNR: -1, SSIM: -1, L1: 1, ...state.summary.best })[key];
    const value = item => {
      const found = (item.metrics || {})[key];
      return found === null ? Infinity : found;
    };
    const compare = {
      tested: (a, b) => a.number - b.number,
      name: (a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : a.number - b.number,
    }[key] || ((a, b) => best * (value(a) === value(b) ? 0 : value(a) < value(b) ? -1 : 1) || a.number - b.number);
    const measured = item => !best || value(item) !== undefined;
    return (a, b) => measured(b) - measured(a) || (backwards ? compare(b, a) : compare(a, b));
  }

  function refresh() {
    const words = view.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const open = state.shown[state.open];
    state.all = state.chunks.flatMap(items => items || []);
    state.shown = state.all.filter(item => words.every(word => item.key.includes(word)));
    state.shown.sort(comparison(view.sort.value, view.order.getAttribute('aria-pressed') === 'true'));
    if (open) state.open = state.shown.indexOf(open);
    draw();
  }

  function onFilterChange() {
    state.page = 0;
    describeOrder();
    refresh();
  }

  function describeOrder() {
    const backwards = view.order.getAttribute('aria-pressed') === 'true';
    const words = { tested: ['first to last', 'last to first'], name: ['A to Z', 'Z to A'] }[view.sort.value] || ['best first', 'worst first'];
    view.order.textContent = words[Number(backwards)];
  }

  function goToPage(page) {
    state.page = clamp(page, 0, pages() - 1);
    draw();
    view.grid.scrollIntoView({ block: 'start' });
  }

  const pages = () => Math.max(1, Math.ceil(state.shown.length / PER_PAGE));

  // ---- the grid

  function draw() {
    state.page = clamp(state.page, 0, pages() - 1);
    const from = state.page * PER_PAGE, items = state.shown.slice(from, from + PER_PAGE);
    const key = JSON.stringify([state.label, items.map(item => item.number)]);
    if (view.grid.dataset.key !== key) {
      view.grid.dataset.key = key;
      view.grid.replaceChildren(...(isMatrix() ? [matrix(items)] : items.map(card)));
    }
    const total = state.summary.count, loading = state.all.length + state.missing.length * state.summary.page < total;
    const found = state.shown.length === state.all.length ? `${count(state.all.length)} results`
      : `${count(state.shown.length)} of ${count(state.all.length)} results`;
    view.found.textContent = found + (loading ? ' …' : '')
      + (state.missing.length ? ` (could not load ${state.missing.slice(0, 3).join(', ')})` : '');
    for (const pager of view.pagers) drawPager(pager);
    fitMatrix();
  }

  function drawPager(pager) {
    pager.box.hidden = pages() < 2;
    pager.previous.disabled = state.page === 0;
    pager.next.disabled = state.page === pages() - 1;
    pager.number.max = pages();
    pager.number.value = state.page + 1;
    pager.of.textContent = `of ${count(pages())}`;
  }

  function visibleLabels(item) {
    return labelsOf(item).filter(label => !state.label || label === state.label);
  }

  function picture(item, label) {
    const [width, height] = item.size;
    const image = element('img', { src: preview(item, label), alt: `${label} of ${item.stem}`, loading: 'lazy', decoding: 'async', width, height });
    if (width < view.size.value * devicePixelRatio) image.classList.add('coarse');
    return element('button', { type: 'button', class: 'picture', 'data-number': item.number, 'data-label': label, onclick: () => openItem(item, label) }, image);
  }

  function card(item) {
    const figures = visibleLabels(item).map(label => element('figure', {}, picture(item, label), element('figcaption', {}, label)));
    return element('article', {}, element('h3', { title: item.stem }, item.stem),
      element('div', { class: 'images' }, ...figures), ...scores(item));
  }

  function scores(item) {
    const names = metricNames();
    if (!names.length || !item.metrics) return [];
    return [element('p', { class: 'scores' }, ...names.map(name => element('span', { title: state.summary.notes[name] },
      `${name} `, element('b', {}, metric(item.metrics[name])))))];
  }

  const isMatrix = () => Boolean(state.summary.table) || state.summary.labels.filter(label => /^fake_B_\d+$/.test(label)).length > 1
    || Object.keys(state.summary.examples).length > 0;

  function matrix(items) {
    const labels = state.summary.labels.filter(label => !state.label || label === state.label);
    const examples = state.summary.examples;
    const heading = label => {
      const file = examples[label.replace('fake_B', 'style')];
      return element('th', { scope: 'col' }, ...(file ? [element('img', { src: url(file), alt: `style image of ${label}` })] : []),
        element('span', {}, label));
    };
    const row = item => element('tr', {}, element('th', { scope: 'row', title: item.stem }, element('span', {}, item.stem)),
      ...labels.map(label => element('td', {}, ...(item.files[label] ? [picture(item, label), element('figcaption', {}, label), ...cellScores(item, label)] : []))));
    const box = element('div', { class: 'matrix', tabindex: 0, role: 'region', 'aria-label': 'content images in rows, styles in columns' },
      element('table', {}, element('thead', {}, element('tr', {}, element('td', {}, state.summary.table ? 'input' : 'content \\ style'), ...labels.map(heading))),
        element('tbody', {}, ...items.map(row))));
    box.style.setProperty('--styles', labels.length);
    return box;
  }

  /* The metrics of one image, in a comparison of runs. */
  function cellScores(item, label) {
    const found = Object.entries((item.scores || {})[label] || {});
    return found.length ? [element('p', { class: 'cell' }, ...found.map(([name, value]) => element('span', { title: name }, `${name} `, element('b', {}, metric(value)))))] : [];
  }

  /* Column headings stick to the toolbar. If the grid scrolls sideways, the names are below each image instead. */
  function fitMatrix() {
    const box = view.grid.querySelector('.matrix'), sticks = getComputedStyle(view.tools).position === 'sticky';
    view.grid.style.setProperty('--bar', `${sticks ? view.tools.offsetHeight : 0}px`);
    if (box) box.classList.toggle('wide', box.firstChild.offsetWidth > view.grid.clientWidth);
  }

  // ---- one result

  /* All pairs [source, result] of images of which one was generated from the other. */
  function sourcePairs(item) {
    const labels = labelsOf(item), input = labels.find(name => !name.startsWith('fake')) || labels[0];
    const source = label => labels.includes('fake_A') && /^(fake_A|rec_B)$/.test(label) ? 'real_B' : input;
    return labels.filter(label => /^(fake|rec)/.test(label)).map(label => [source(label), label]);
  }

  /* The two images to compare when `label` was clicked. */
  function defaultPair(item, label) {
    const labels = labelsOf(item), target = state.summary.target, known = sourcePairs(item);
    const runs = runsOf(item);
    if (runs.length > 1) return runs.indexOf(label) > 0 ? [runs[0], label] : [label, runs[label === runs[0] ? 1 : 0]];
    if (target && label === target[1]) return target;
    const other = [labels[0], labels[0] === label ? labels[labels.length - 1] : label];
    return known.find(pair => pair[1] === label) || known.find(pair => pair[0] === label && pair[1].startsWith('fake')) || other;
  }

  /* The compared runs that have a result for this input. */
  const runsOf = item => (state.summary.runs || []).filter(name => item.files[name]);

  function openItem(item, label) {
    state.open = state.shown.indexOf(item);
    [state.left, state.right] = defaultPair(item, label || labelsOf(item)[0]);
    view.range.value = 50;
    drawOpen();
    if (!view.dialog.open) view.dialog.showModal();
    view.range.focus();
  }

  function drawOpen() {
    const item = state.shown[state.open];
    if (!item) return view.dialog.close();
    const labels = labelsOf(item);
    if (!item.files[state.left] || !item.files[state.right]) [state.left, state.right] = defaultPair(item, labels[0]);
    view.name.textContent = item.stem;
    view.place.textContent = `${count(state.open + 1)} of ${count(state.shown.length)}`;
    view.itemScores.replaceChildren(...(state.summary.runs ? [state.left, state.right].flatMap(label => cellScores(item, label)) : scores(item)));
    view.stage.style.setProperty('--ratio', item.size[0] / item.size[1]);
    view.stage.classList.toggle('coarse', item.size[0] < 400);
    for (const side of ['left', 'right']) {
      const label = state[side];
      view[side].src = url(item.files[label]);
      view[side].alt = `${label} of ${item.stem}`;
      view[`${side}Label`].textContent = label;
      view[`${side}Choice`].replaceChildren(...labels.map((name, k) =>
        element('option', { value: name, selected: name === label }, `${k < 9 ? `${k + 1} ` : ''}${name}`)));
      view[`${side}File`].href = url(item.files[label]);
      view[`${side}File`].textContent = `open ${label}`;
    }
    view.pairs.replaceChildren(...pairs(item).map(([left, right]) => element('button', {
      type: 'button', 'aria-pressed': String(left === state.left && right === state.right),
      onclick: () => { [state.left, state.right] = [left, right]; drawOpen(); },
    }, `${left} | ${right}`)));
    drawSlider();
  }

  function pairs(item) {
    const target = state.summary.target, known = sourcePairs(item).slice(0, 4);
    const runs = runsOf(item);
    if (runs.length > 1) return runs.slice(1).map((name, k) => [runs[k], name]);
    return [...known, ...(target && item.files[target[1]] && known.length ? [target, [known[0][0], target[1]]] : [])];
  }

  /* 'slider', 'flicker' (left and right in turn, twice a second) or 'difference' (brighter where they differ). */
  function setMode(mode) {
    state.mode = mode;
    view.stage.classList.toggle('flicker', mode === 'flicker');
    view.stage.classList.toggle('difference', mode === 'difference');
    for (const button of view.modes) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
  }

  function drawSlider() {
    view.stage.style.setProperty('--cut', `${view.range.value}%`);
    view.range.setAttribute('aria-valuetext', `${view.range.value} % ${state.left}, ${100 - view.range.value} % ${state.right}`);
  }

  function showNeighbor(by) {
    state.open = clamp(state.open + by, 0, state.shown.length - 1);
    drawOpen();
    for (const near of [1, -1]) {       // preload the neighbors
      const item = state.shown[state.open + near];
      if (item) for (const label of [state.left, state.right]) if (item.files[label]) new Image().src = url(item.files[label]);
    }
  }

  function onClose() {
    const item = state.shown[state.open];
    if (!item) return;
    state.page = Math.floor(state.open / PER_PAGE);
    state.open = -1;
    draw();
    view.grid.querySelector(`[data-number="${item.number}"]`)?.focus();
  }

  // ---- keys

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches('input:not([type=range]), select, textarea');
    const handled = view.dialog.open ? keyInDialog(event, typing) : keyInGrid(event, typing);
    if (handled) event.preventDefault();
  }

  function keyInDialog(event, typing) {
    const labels = labelsOf(state.shown[state.open]), digit = Number(/^Digit([1-9])$/.exec(event.code)?.[1]);
    if (typing) return false;
    const mode = { f: 'flicker', d: 'difference' }[event.key];
    if (mode) setMode(state.mode === mode ? 'slider' : mode);
    else if (event.key === 'ArrowRight') showNeighbor(1);
    else if (event.key === 'ArrowLeft') showNeighbor(-1);
    else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      view.range.value = Number(view.range.value) + (event.key === 'ArrowUp' ? 5 : -5);
      drawSlider();
    } else if (digit && labels[digit - 1]) {
      state[event.shiftKey ? 'left' : 'right'] = labels[digit - 1];
      drawOpen();
    } else return false;
    return true;
  }

  function keyInGrid(event, typing) {
    if (event.key === 'Escape' && event.target === view.filter) { view.filter.value = ''; onFilterChange(); view.filter.blur(); return true; }
    if (typing || event.target.matches('input[type=range]')) return false;
    if (event.key === '/') view.filter.focus();
    else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') moveFocus(event.key === 'ArrowRight' ? 1 : -1);
    else if (/^\d$/.test(event.key) && Number(event.key) <= state.summary.labels.length) {
      view.label.value = state.label = event.key === '0' ? '' : state.summary.labels[event.key - 1];
      draw();
    } else return false;
    return true;
  }

  function moveFocus(by) {
    const all = [...view.grid.querySelectorAll('.picture')], here = all.indexOf(document.activeElement);
    const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by;
    if (all[next]) return all[next].focus();
    const page = state.page + by;
    if (page < 0 || page >= pages()) return;
    goToPage(page);
    const now = [...view.grid.querySelectorAll('.picture')];
    now[by > 0 ? 0 : now.length - 1]?.focus();
  }

  // ---- building the page

  function header() {
    const { title, facts, means, notes, legend, failures, n_failures: failed, target } = state.summary;
    const tiles = metricNames().map(name => element('div', { class: 'tile', title: notes[name] },
      element('b', {}, metric(means[name])), element('span', {}, `mean ${name}`), element('small', {}, notes[name])));
    const parts = [element('h1', {}, title),
      element('dl', { class: 'facts' }, ...Object.entries(facts).map(([name, text]) => element('div', {}, element('dt', {}, name), element('dd', {}, text))))];
    if (state.summary.table) parts.push(table(state.summary.table));
    else if (tiles.length) parts.push(element('div', { class: 'tiles' }, ...tiles), element('p', { class: 'quiet' }, `${target[0]} compared with ${target[1]}`));
    if (Object.keys(legend).length) {
      parts.push(element('dl', { class: 'legend' }, ...Object.entries(legend).map(([label, text]) => element('div', {}, element('dt', {}, label), element('dd', {}, text)))));
    }
    if (failed) {
      const more = failed > failures.length ? [element('li', {}, `and ${count(failed - failures.length)} more, see results.json`)] : [];
      parts.push(element('details', { class: 'failures' }, element('summary', {}, `${count(failed)} failed`),
        element('ul', {}, ...failures.map(message => element('li', {}, message)), ...more)));
    }
    return element('header', {}, ...parts);
  }

  /* Metrics of the compared runs; the best value of each column is bold. */
  function table({ head, rows }) {
    const cell = ({ text, best, title }) => element('td', { title }, best ? element('b', {}, text) : text);
    return element('div', { class: 'comparison', tabindex: 0, role: 'region', 'aria-label': 'metrics of the runs' }, element('table', {},
      element('thead', {}, element('tr', {}, ...head.map(({ text, title }) => element('th', { scope: 'col', title }, text)))),
      element('tbody', {}, ...rows.map(([name, ...cells]) => element('tr', {}, element('th', { scope: 'row' }, name.text), ...cells.map(cell))))));
  }

  function pager() {
    const number = element('input', { type: 'number', min: 1, 'aria-label': 'page', onchange: () => goToPage(number.value - 1) });
    const found = { number, of: element('span'), previous: element('button', { type: 'button', 'aria-label': 'previous page', onclick: () => goToPage(state.page - 1) }, '‹'),
      next: element('button', { type: 'button', 'aria-label': 'next page', onclick: () => goToPage(state.page + 1) }, '›') };
    found.box = element('nav', { class: 'pager', 'aria-label': 'pages' }, found.previous, element('span', {}, 'page'), number, found.of, found.next);
    return found;
  }

  function toolbar() {
    const choice = (name, options, onchange) => element('select', { 'aria-label': name, onchange }, ...options.map(([value, text]) => element('option', { value }, text)));
    const { labels } = state.summary;
    view.filter = element('input', { type: 'search', placeholder: 'filter by name  ( / )', 'aria-label': 'filter by name', oninput: onFilterChange });
    view.sort = choice('sort by', [['tested', 'test order'], ['name', 'name'], ...metricNames().map(name => [name, name])], onFilterChange);
    view.order = element('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
      view.order.setAttribute('aria-pressed', String(view.order.getAttribute('aria-pressed') !== 'true'));
      onFilterChange();
    } });
    view.label = choice('show', [['', 'all images'], ...labels.map((label, k) => [label, `${k < 9 ? `${k + 1} ` : ''}${label}`])], () => { state.label = view.label.value; draw(); });
    view.size = element('input', { type: 'range', min: MIN_SIZE, max: MAX_SIZE, step: 8, 'aria-label': 'size of the images', oninput: () => resize(view.size.value, view.size.value) });
    view.size.value = isMatrix() ? Math.min(initialSize(), Math.max(LEGIBLE_SIZE, (innerWidth - 200) / labels.length)) : initialSize();
    view.found = element('output', { 'aria-live': 'polite' });
    view.pagers = [pager(), pager()];
    describeOrder();
    return element('div', { class: 'toolbar', role: 'search' }, view.filter,
      element('label', {}, element('span', {}, 'sort'), view.sort), view.order, element('label', {}, element('span', {}, 'show'), view.label),
      element('label', { class: 'size' }, element('span', {}, 'size'), view.size), view.found, view.pagers[0].box);
  }

  const initialSize = () => clamp(innerWidth < 640 ? 88 : state.summary.width / 2, MIN_SIZE, MAX_SIZE);

  /* Image size as set by the slider; until it is moved, images in a matrix may shrink to the smallest legible size. */
  function resize(size = initialSize(), least = Math.min(size, LEGIBLE_SIZE)) {
    view.grid.style.setProperty('--size', `${size}px`);
    view.grid.style.setProperty('--least', `${least}px`);
    fitMatrix();
  }

  function dialog() {
    const button = (text, name, onclick) => element('button', { type: 'button', 'aria-label': name, title: name, onclick }, text);
    for (const side of ['left', 'right']) {
      view[side] = element('img', { class: side, draggable: 'false' });
      view[`${side}Label`] = element('span', { class: `tag ${side}` });
      view[`${side}File`] = element('a', { target: '_blank', rel: 'noopener' });
      view[`${side}Choice`] = element('select', { 'aria-label': `${side} image`, onchange: event => { state[side] = event.target.value; drawOpen(); } });
    }
    view.range = element('input', { type: 'range', min: 0, max: 100, step: 1, 'aria-label': 'share of the left image that is shown', oninput: drawSlider });
    view.modes = [['slider', 'a slider between both'], ['flicker', 'both in turn (f)'], ['difference', 'their difference, 4 times as bright (d)']].map(([mode, title]) =>
      element('button', { type: 'button', title, 'data-mode': mode, 'aria-pressed': String(mode === 'slider'), onclick: () => setMode(mode) }, mode));
    view.stage = element('div', { class: 'stage' }, view.right, view.left, element('div', { class: 'line' }), view.leftLabel, view.rightLabel, view.range);
    view.name = element('h2');
    view.place = element('span', { class: 'quiet' });
    view.itemScores = element('div');
    view.pairs = element('div', { class: 'pairs' });
    view.dialog = element('dialog', { 'aria-label': 'one result', onclose: onClose },
      element('div', { class: 'bar' }, view.name, view.place, button('✕', 'close (Esc)', () => view.dialog.close())),
      element('div', { class: 'middle' }, button('‹', 'previous (left arrow)', () => showNeighbor(-1)), view.stage, button('›', 'next (right arrow)', () => showNeighbor(1))),
      element('div', { class: 'bar below' }, view.leftChoice, view.pairs, view.rightChoice),
      element('div', { class: 'bar below' }, element('span', { class: 'pairs modes' }, ...view.modes), view.itemScores, element('span', { class: 'links' }, view.leftFile, view.rightFile)),
      element('p', { class: 'quiet keys' }, '← → previous, next result · ↑ ↓ move the slider · 1–9 choose the right image, with Shift the left image · f flicker · d difference · Esc close'));
    return view.dialog;
  }

  function start() {
    if (!state.summary) return document.documentElement.classList.remove('js');     // results.js is missing: show the plain grid
    view.grid = element('section', { 'aria-label': 'results' });
    view.tools = toolbar();
    view.grid.className = isMatrix() ? 'rows' : 'cards';
    view.grid.style.setProperty('--columns', Math.min(3, state.summary.labels.length || 1));
    document.body.append(element('div', { id: 'gallery' }, header(), view.tools, view.grid, view.pagers[1].box,
      element('p', { class: 'quiet keys' }, '/ filter · ← → move · Enter open · 1–9 show one kind of image, 0 show all')), dialog());
    resize();
    new ResizeObserver(fitMatrix).observe(document.documentElement);
    document.addEventListener('keydown', keys);
    refresh();
    loadAll();
  }

  document.addEventListener('DOMContentLoaded', start);
  return { summary, results };
})();
