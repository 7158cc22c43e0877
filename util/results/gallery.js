/* The gallery of a results folder, or of several (scripts/compare.py): lists, filter, sort, pages, and the address of
   the page, which says what is shown. It loads results.js and data/*.js, which call pixmorph.summary(...) and
   pixmorph.results(...). Names of files and images are inserted as text, never as HTML. */
const pixmorph = (() => {
  const PER_PAGE = 48, PARALLEL_LOADS = 8, TYPING = 300;
  const MIN_SIZE = 48, MAX_SIZE = 512, LEGIBLE_SIZE = 72;
  const state = { summary: null, chunks: [], missing: [], loaded: false, all: [], shown: [], page: 0, list: '', label: '', wanted: null, chosen: new Set() };
  const view = {};
  const natural = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });      // 2 before 10

  document.documentElement.classList.add('js');     // hides the plain grid before the first paint

  // ---- helpers

  const url = file => file.split('/').map(encodeURIComponent).join('/');
  const count = number => number.toLocaleString('en');
  const many = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;
  const decimals = name => state.summary.decimals[name.replace(/^gain in /, '')] ?? 4;
  const metric = (name, value) => value === undefined ? '–' : value === null ? '∞'
    : (name.startsWith('gain in ') && value > 0 ? '+' : '') + value.toFixed(decimals(name));
  const metricNames = () => Object.keys(state.summary.notes).filter(name => name in state.summary.means);
  const labelsOf = item => Object.keys(item.files);
  const labelsShown = () => state.summary.labels.filter(label => !state.list || listLabels().has(label));
  const listLabels = () => new Set(state.all.slice(0, 50).flatMap(labelsOf));
  const preview = (item, label) => url((item.thumbs || {})[label] || item.files[label]);
  const addresses = item => Object.fromEntries(Object.entries(item.files).map(([label, file]) => [label, url(file)]));
  const backwards = () => view.order.getAttribute('aria-pressed') === 'true';

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
        state.loaded = done === chunks;
        if (state.loaded || done < 4 || done % 10 === 0) refresh();
        loadNext();
      };
      const script = element('script', { src: file, onload: onDone, onerror: () => { state.missing.push(file); onDone(); } });
      document.head.append(script);
    };
    for (let k = 0; k < PARALLEL_LOADS; k++) loadNext();
    state.loaded = chunks === 0;
  }

  // ---- the address: #list=...&q=...&sort=...&item=..., with what differs from the first view

  const viewerState = () => view.viewer.isOpen && view.viewer.item
    ? { item: view.viewer.item.name, left: view.viewer.left, right: view.viewer.right, mode: view.viewer.mode === 'slider' ? '' : view.viewer.mode } : {};

  function address() {
    const lists = listNames();
    const found = { list: lists.length > 1 && state.list !== lists[0] ? state.list : '', q: view.filter.value.trim(), sort: view.sort.value === 'tested' ? '' : view.sort.value,
      order: backwards() ? 'reversed' : '', show: state.label, page: state.page ? state.page + 1 : '', ...viewerState(), figure: view.figure.isOpen ? 1 : '' };
    const parameters = new URLSearchParams(Object.entries(found).filter(([, value]) => value));
    for (const item of chosen()) parameters.append('row', item.stem);
    return String(parameters);
  }

  /* Say in the address what is shown; `push`: Back returns to what was shown before. */
  function remember(push = false) {
    if (view.restoring || state.wanted) return;
    const hash = address();
    if (hash === location.hash.slice(1)) return;
    history[push ? 'pushState' : 'replaceState']({ ours: push || Boolean(history.state?.ours) }, '', location.href.split('#')[0] + (hash ? `#${hash}` : ''));
  }

  /* Show what the address says; results that are not loaded yet are shown when they are. */
  function restore() {
    const found = new URLSearchParams(location.hash.slice(1)), get = name => found.get(name) || '';
    const has = (select, value) => [...select.options].some(option => option.value === value);
    view.restoring = true;
    const lists = listNames();
    state.list = lists.includes(get('list')) ? get('list') : lists[0] || '';
    view.filter.value = get('q');
    view.sort.value = has(view.sort, get('sort')) ? get('sort') : 'tested';
    view.order.setAttribute('aria-pressed', String(get('order') === 'reversed'));
    state.label = state.summary.labels.includes(get('show')) ? get('show') : '';
    state.page = Math.max(0, Number(get('page') || 1) - 1);
    state.wanted = { item: get('item'), left: get('left'), right: get('right'), mode: get('mode'), figure: get('figure'), rows: found.getAll('row'), page: state.page };
    describeOrder();
    refresh();
    view.restoring = false;
  }

  function showWanted() {
    const wanted = state.wanted;
    if (!wanted) return;
    const at = wanted.item ? state.shown.findIndex(item => item.stem === wanted.item) : -1;
    if (!state.loaded && (wanted.rows.length || wanted.page || (wanted.item && at < 0))) return;
    state.wanted = null;
    state.page = wanted.page;
    state.chosen = new Set(state.all.filter(item => wanted.rows.includes(item.stem)).map(item => item.number));
    if (at >= 0) view.viewer.show(at, undefined, wanted);
    else view.viewer.close();
    if (wanted.figure && state.chosen.size) view.figure.show();
    else view.figure.close();
    view.lost = at < 0 ? wanted.item : '';
  }

  /* Back to the page as it was before the viewer or the figure was opened. */
  function leave() {
    view.returning = Boolean(history.state?.ours);
    if (view.returning) history.back();
    else remember();
  }

  function onPop() {
    if (!view.returning) return restore();
    view.returning = false;
    remember();
  }

  // ---- lists, filter and order

  const listNames = () => state.summary.directions || [...new Set(state.chunks.flatMap(items => items || []).map(item => item.direction || ''))];

  function comparison(key) {
    const best = ({ PSNR: -1, SSIM: -1, L1: 1, ...state.summary.best })[key], back = backwards();
    const value = item => {
      const found = (item.metrics || {})[key];
      return found === null ? Infinity : found;
    };
    const compare = {
      tested: (a, b) => a.number - b.number,
      name: (a, b) => natural.compare(a.stem, b.stem) || a.number - b.number,
    }[key] || ((a, b) => best * (value(a) === value(b) ? 0 : value(a) < value(b) ? -1 : 1) || a.number - b.number);
    const measured = item => !best || value(item) !== undefined;
    return (a, b) => measured(b) - measured(a) || (back ? compare(b, a) : compare(a, b));
  }

  function refresh() {
    const words = view.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const open = state.shown[view.viewer.at], lists = listNames();
    if (!lists.includes(state.list)) state.list = lists[0] || '';
    state.all = state.chunks.flatMap(items => items || []).filter(item => (item.direction || '') === state.list);
    state.shown = state.all.filter(item => words.every(word => item.key.includes(word)));
    state.shown.sort(comparison(view.sort.value));
    if (open) view.viewer.at = state.shown.indexOf(open);
    showWanted();
    draw();
  }

  function onFilterChange() {
    state.page = 0;
    view.lost = '';
    describeOrder();
    refresh();
    clearTimeout(view.typing);        // browsers limit how often the address may change
    view.typing = setTimeout(remember, TYPING);
  }

  function describeOrder() {
    const words = { tested: ['first to last', 'last to first'], name: ['A to Z', 'Z to A'] }[view.sort.value] || ['best first', 'worst first'];
    view.order.textContent = words[Number(backwards())];
  }

  function goToPage(page) {
    state.page = clamp(page, 0, pages() - 1);
    draw();
    remember();
    view.grid.scrollIntoView({ block: 'start' });
  }

  function showLabel(label) {
    view.label.value = state.label = label;
    draw();
    remember();
  }

  function showList(name) {
    state.list = name;
    state.page = 0;
    state.label = '';
    state.chosen.clear();
    refresh();
    remember();
  }

  const pages = () => Math.max(1, Math.ceil(state.shown.length / PER_PAGE));

  // ---- the grid

  function draw() {
    if (!state.wanted) state.page = clamp(state.page, 0, pages() - 1);
    const from = state.page * PER_PAGE, items = state.shown.slice(from, from + PER_PAGE);
    const key = JSON.stringify([state.list, state.label, items.map(item => item.number)]);
    if (view.grid.dataset.key !== key) {
      view.grid.dataset.key = key;
      view.grid.replaceChildren(...(items.length ? isMatrix() ? [matrix(items)] : items.map(card) : [element('p', { class: 'soft' }, emptyWords())]));
    }
    drawLists();
    const loading = !state.loaded;
    const found = state.shown.length === state.all.length ? many(state.all.length, 'result')
      : `${count(state.shown.length)} of ${many(state.all.length, 'result')}`;
    view.found.textContent = found + (loading ? ' …' : '')
      + (view.lost ? `; there is no ${view.lost}` : '') + (state.missing.length ? ` (could not load ${state.missing.slice(0, 3).join(', ')})` : '');
    for (const pager of view.pagers) drawPager(pager);
    drawChosen();
    fitMatrix();
  }

  function emptyWords() {
    if (!state.loaded) return 'loading …';
    return state.all.length ? 'No name contains these words.' : 'There are no results.';
  }

  /* What depends on the list that is shown: its button, the names of its images and what they mean. */
  function drawLists() {
    const lists = listNames(), labels = labelsShown(), key = JSON.stringify([lists, state.list, labels]);
    if (view.listKey === key) {
      view.label.value = state.label;
      return;
    }
    view.listKey = key;
    view.lists.hidden = lists.length < 2;
    view.lists.replaceChildren(...(view.lists.hidden ? [] : lists).map(name => element('button', { type: 'button', 'aria-pressed': String(name === state.list), onclick: () => showList(name) }, name)));
    view.label.replaceChildren(...[['', 'all images'], ...labels.map((label, k) => [label, `${k < 9 ? `${k + 1} ` : ''}${label}`])].map(([value, text]) => element('option', { value }, text)));
    view.label.value = state.label;
    view.grid.style.setProperty('--columns', Math.min(3, labels.length || 1));
    for (const part of view.legend?.children || []) part.hidden = lists.length > 1 && state.all.length > 0 && !labels.includes(part.dataset.label);
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
    return element('article', { 'data-number': item.number }, element('div', { class: 'title' }, element('h2', { title: item.stem }, item.stem), chooser(item)),
      element('div', { class: 'images' }, ...figures), ...scores(item));
  }

  function scores(item) {
    const names = metricNames();
    if (!names.length || !item.metrics) return [];
    return [element('p', { class: 'scores' }, ...names.map(name => element('span', { title: state.summary.notes[name] },
      `${name} `, element('b', {}, metric(name, item.metrics[name])))))];
  }

  const isMatrix = () => Boolean(state.summary.table) || state.summary.labels.filter(label => /^fake_B_\d+$/.test(label)).length > 1
    || Object.keys(state.summary.examples).length > 0;

  /* Inputs in rows, styles or runs in columns. The input stays visible when the columns scroll sideways. */
  function matrix(items) {
    const labels = state.summary.labels.filter(label => !state.label || label === state.label || label === state.summary.labels[0]);
    const [input, ...others] = labels, examples = state.summary.examples;
    const heading = label => {
      const file = examples[label.replace('fake_B', 'style')];
      return element('th', { scope: 'col' }, ...(file ? [element('img', { src: url(file), alt: `style image of ${label}` })] : []), element('span', {}, label));
    };
    const cell = (item, label) => item.files[label] ? [picture(item, label), ...cellScores(item, label)] : [];
    const row = item => element('tr', { 'data-number': item.number }, element('th', { scope: 'row', title: item.stem }, ...cell(item, input),
      element('div', { class: 'title' }, element('span', {}, item.stem), chooser(item))), ...others.map(label => element('td', {}, ...cell(item, label))));
    const box = element('div', { class: 'matrix', tabindex: 0, role: 'region', 'aria-label': state.summary.table ? 'inputs in rows, runs in columns' : 'inputs in rows, styles in columns' },
      element('table', {}, element('thead', {}, element('tr', {}, ...labels.map(heading))), element('tbody', {}, ...items.map(row))));
    box.style.setProperty('--styles', others.length);
    return box;
  }

  /* The metrics of one image, in a comparison of runs. */
  function cellScores(item, label) {
    const found = Object.entries((item.scores || {})[label] || {});
    return found.length ? [element('p', { class: 'cell' }, ...found.map(([name, value]) => element('span', {}, `${name} `, element('b', {}, metric(name, value)))))] : [];
  }

  /* Column headings stick to the toolbar, also in a grid that scrolls sideways, where CSS alone cannot do it. */
  function fitMatrix() {
    const box = view.grid.querySelector('.matrix'), sticks = getComputedStyle(view.tools).position === 'sticky';
    const bar = sticks ? view.tools.offsetHeight : 0;
    view.grid.style.setProperty('--bar', `${bar}px`);
    if (!box) return;
    const head = box.querySelector('thead'), wide = box.firstChild.offsetWidth > view.grid.clientWidth;
    box.classList.toggle('wide', wide);
    const { top, bottom } = box.getBoundingClientRect();
    head.style.transform = wide ? `translateY(${clamp(bar - top, 0, Math.max(0, bottom - top - head.offsetHeight))}px)` : '';
  }

  // ---- chosen rows

  const chosen = () => state.all.filter(item => state.chosen.has(item.number));

  function chooser(item) {
    const box = element('input', { type: 'checkbox', title: 'choose for a figure', 'aria-label': `choose ${item.stem} for a figure`, onchange: () => {
      if (box.checked) state.chosen.add(item.number); else state.chosen.delete(item.number);
      drawChosen();
      remember();
    } });
    box.checked = state.chosen.has(item.number);
    return box;
  }

  function drawChosen() {
    for (const box of view.grid.querySelectorAll('input[type=checkbox]')) box.checked = state.chosen.has(Number(box.closest('[data-number]').dataset.number));
    view.figureButton.hidden = view.noneButton.hidden = !state.chosen.size;
    view.figureButton.textContent = `figure of ${many(state.chosen.size, 'row')}`;
  }

  /* The folder of this page, and what scripts/figure.py needs to write the same figure. */
  function figureCommand(labels, names) {
    const word = text => /^[\w.,/:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
    const folder = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, '').replace(/^\/([A-Za-z]:)/, '$1');
    const list = listNames().length > 1 ? ['--list', word(state.list)] : [];
    return ['python scripts/figure.py', word(folder), '--rows', ...chosen().map(item => word(item.stem)), ...list, '--columns', ...labels.map(word),
      ...(names ? [] : ['--no_names']), '--out figure.pdf'].join(' ');
  }

  function openFigure() {
    remember();
    view.figure.show();
    remember(true);
  }

  // ---- one result

  /* The two images to compare when `label` was clicked; without it, the first result. */
  function defaultPair(item, label) {
    const labels = labelsOf(item), target = state.summary.target, runs = runsOf(item);
    label ||= runs[0] || labels[0];
    if (runs.length > 1) return runs.indexOf(label) > 0 ? [runs[0], label] : [label, runs[label === runs[0] ? 1 : 0]];
    if (target && label === target[1]) return target;
    return sourcePair(labels, label);
  }

  /* The compared runs that have a result for this input. */
  const runsOf = item => (state.summary.runs || []).filter(name => item.files[name]);

  function pairs(item) {
    const target = state.summary.target, known = sourcePairs(labelsOf(item)).slice(0, 4);
    const runs = runsOf(item);
    if (runs.length > 1) return runs.slice(1).map((name, k) => [runs[k], name]);
    return [...known, ...(target && item.files[target[1]] && known.length ? [target, [known[0][0], target[1]]] : [])];
  }

  function openItem(item, label) {
    remember();
    view.viewer.show(state.shown.indexOf(item), label);
    remember(true);
  }

  const viewerSource = {
    count: () => state.shown.length,
    item: at => {
      const item = state.shown[at];
      return item && { name: item.stem, size: item.size, files: addresses(item),
        scores: (left, right) => state.summary.runs ? [left, right].flatMap(label => cellScores(item, label)) : scores(item) };
    },
    pair: (at, label) => defaultPair(state.shown[at], label),
    pairs: at => pairs(state.shown[at]),
    changed: () => { if (view.viewer.isOpen) remember(); },
    closed: () => {
      const item = state.shown[view.viewer.at];
      view.viewer.at = -1;
      if (item) {
        state.page = Math.floor(state.shown.indexOf(item) / PER_PAGE);
        draw();
        view.grid.querySelector(`.picture[data-number="${item.number}"]`)?.focus();
      }
      leave();
    },
  };

  const figureSource = {
    rows: () => chosen().map(item => ({ name: item.stem, size: item.size, files: addresses(item) })),
    labels: () => { const found = new Set(chosen().flatMap(labelsOf)); return state.summary.labels.filter(label => found.has(label)); },
    command: figureCommand,
    closed: () => {
      view.figure.close();
      leave();
    },
  };

  // ---- keys

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || view.viewer.isOpen) return;
    const typing = event.target.matches('input:not([type=range], [type=checkbox]), select, textarea');
    const handled = view.figure.isOpen ? keyInFigure(event) : keyInGrid(event, typing);
    if (handled) event.preventDefault();
  }

  function keyInFigure(event) {
    if (event.key !== 'Escape') return false;
    figureSource.closed();
    return true;
  }

  function keyInGrid(event, typing) {
    if (event.key === 'Escape' && event.target === view.filter) { view.filter.value = ''; onFilterChange(); view.filter.blur(); return true; }
    if (typing || event.target.matches('input[type=range]')) return false;
    const labels = labelsShown();
    if (event.key === '/') view.filter.focus();
    else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') moveFocus(event.key === 'ArrowRight' ? 1 : -1);
    else if (/^\d$/.test(event.key) && Number(event.key) <= labels.length) showLabel(event.key === '0' ? '' : labels[event.key - 1]);
    else return false;
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

  const describe = entries => entries.map(([name, text]) => element('div', { 'data-label': name }, element('dt', {}, name), element('dd', {}, text)));

  /* Mean, median and spread of a metric. */
  function tile(name) {
    const { means, spread, notes, target } = state.summary, about = spread[name];
    const deviation = about?.std == null ? '' : `, sd ${metric(name, about.std)}`;
    return element('div', { class: 'tile' }, element('span', {}, `mean ${name}`), element('b', {}, metric(name, means[name])),
      ...(about ? [element('small', {}, `median ${metric(name, about.median)}${deviation}`), element('small', {}, `${metric(name, about.low)} to ${metric(name, about.high)}`)] : []),
      element('small', {}, notes[name]));
  }

  function header() {
    const { heading, facts, about, legend, failures, n_failures: failed, target, training } = state.summary;
    const top = element('div', { class: 'head' }, element('h1', {}, heading));
    const parts = [top, element('dl', { class: 'facts' }, ...describe(Object.entries(facts)))];
    if (training) addTrainingLink(top, training);
    const tiles = metricNames().map(tile);
    if (state.summary.table) parts.push(table(state.summary.table));
    else if (tiles.length) parts.push(element('p', { class: 'soft' }, `${target[0]} compared with ${target[1]}`), element('div', { class: 'tiles' }, ...tiles));
    if (about) parts.push(element('p', {}, ...about.split(/(--\w+)/).map((text, k) => k % 2 ? element('code', { class: 'option' }, text) : text)));
    if (Object.keys(legend).length) parts.push(view.legend = element('dl', { class: 'facts legend' }, ...describe(Object.entries(legend))));
    if (failed) {
      const more = failed > failures.length ? [element('li', {}, `and ${count(failed - failures.length)} more, see results.json`)] : [];
      parts.push(element('details', { class: 'bad' }, element('summary', {}, `${count(failed)} failed`),
        element('ul', {}, ...failures.map(message => element('li', {}, message)), ...more)));
    }
    return element('header', {}, ...parts);
  }

  /* Only where the page of the training is: an image next to it can be loaded. */
  function addTrainingLink(box, { page, probe }) {
    const image = new Image();
    image.onload = () => box.append(element('a', { href: url(page) }, 'page of the training'));
    image.src = url(probe);
  }

  /* Metrics of the compared runs; the best value of each column is bold. */
  function table({ head, rows }) {
    const cell = ({ text, best, title, more }) => element('td', { title }, best ? element('b', {}, text) : text, ...(more ? [element('small', {}, more)] : []));
    return element('div', { class: 'comparison', tabindex: 0, role: 'region', 'aria-label': 'metrics of the runs' }, element('table', { class: 'table' },
      element('thead', {}, element('tr', {}, ...head.map(({ text, title }) => element('th', { scope: 'col', title }, text)))),
      element('tbody', {}, ...rows.map(([name, ...cells]) => element('tr', {}, element('th', { scope: 'row' }, name.text), ...cells.map(cell))))));
  }

  function pager(where) {
    const number = element('input', { type: 'number', min: 1, 'aria-label': 'page', onchange: () => goToPage(number.value - 1) });
    const found = { number, of: element('span'), previous: element('button', { type: 'button', 'aria-label': 'previous page', onclick: () => goToPage(state.page - 1) }, '‹'),
      next: element('button', { type: 'button', 'aria-label': 'next page', onclick: () => goToPage(state.page + 1) }, '›') };
    found.box = element('nav', { class: 'pager', 'aria-label': `pages, ${where}` }, found.previous, element('span', {}, 'page'), number, found.of, found.next);
    return found;
  }

  function toolbar() {
    const choice = (name, options, onchange) => element('select', { 'aria-label': name, onchange }, ...options.map(([value, text]) => element('option', { value }, text)));
    const { labels } = state.summary;
    view.lists = element('span', { class: 'row lists', role: 'group', 'aria-label': 'list' });
    view.filter = element('input', { type: 'search', placeholder: 'filter by name  ( / )', 'aria-label': 'filter by name', oninput: onFilterChange });
    view.sort = choice('sort by', [['tested', 'test order'], ['name', 'name'], ...metricNames().map(name => [name, name])], onFilterChange);
    view.order = element('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
      view.order.setAttribute('aria-pressed', String(!backwards()));
      onFilterChange();
    } });
    view.label = choice('show', [], () => showLabel(view.label.value));
    view.size = element('input', { type: 'range', min: MIN_SIZE, max: MAX_SIZE, step: 8, 'aria-label': 'size of the images', oninput: () => resize(view.size.value, view.size.value) });
    view.size.value = initialSize();
    view.found = element('output', { 'aria-live': 'polite' });
    view.pagers = [pager('top'), pager('bottom')];
    view.figureButton = element('button', { type: 'button', hidden: true, onclick: openFigure });
    view.noneButton = element('button', { type: 'button', hidden: true, onclick: () => { state.chosen.clear(); drawChosen(); remember(); } }, 'choose none');
    describeOrder();
    return element('div', { class: 'toolbar', role: 'search' }, view.lists, view.filter,
      element('label', {}, element('span', {}, 'sort'), view.sort), view.order, element('label', {}, element('span', {}, 'show'), view.label),
      element('label', { class: 'size' }, element('span', {}, 'size'), view.size), view.found, view.figureButton, view.noneButton, view.pagers[0].box);
  }

  /* Images are larger on large screens, as the text is. */
  function initialSize() {
    const larger = parseFloat(getComputedStyle(document.documentElement).fontSize) / 15, columns = state.summary.labels.length || 1;
    const half = innerWidth < 640 ? 88 : state.summary.width / 2 * larger;
    const filling = Math.min(Math.max(half, (innerWidth - 60) / columns - 3), state.summary.width * larger);      // a matrix of few columns fills the window
    return clamp(isMatrix() && innerWidth >= 640 ? Math.max(LEGIBLE_SIZE, filling) : half, MIN_SIZE, MAX_SIZE);
  }

  /* Image size as set by the slider; until it is moved, images in a matrix may shrink to the smallest legible size. */
  function resize(size = initialSize(), least = Math.min(size, LEGIBLE_SIZE)) {
    view.grid.style.setProperty('--size', `${size}px`);
    view.grid.style.setProperty('--least', `${least}px`);
    fitMatrix();
  }

  function start() {
    if (!state.summary) return document.documentElement.classList.remove('js');     // results.js is missing: show the plain grid
    view.grid = element('section', { 'aria-label': 'results' });
    view.tools = toolbar();
    view.grid.className = isMatrix() ? 'rows' : 'cards';
    document.body.append(element('main', { id: 'gallery' }, header(), view.tools, view.grid, view.pagers[1].box,
      element('p', { class: 'soft keys' }, '/ filter · ← → move · Enter open · 1–9 show one kind of image, 0 show all')));
    view.viewer = new Viewer(viewerSource);
    view.figure = new Figure(figureSource);
    resize();
    new ResizeObserver(fitMatrix).observe(document.documentElement);
    addEventListener('scroll', fitMatrix, { passive: true });
    addEventListener('popstate', onPop);
    document.addEventListener('keydown', keys);
    loadAll();
    restore();
  }

  document.addEventListener('DOMContentLoaded', start);
  return { summary, results };
})();
