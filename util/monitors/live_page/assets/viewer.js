// Looks at one picture, or compares two of the same image: by a slider, by flicker, or by their difference.
// viewer.open(groups, at, label): groups are [{title, files: [[label, address], ...]}], the pictures of an image each.
const viewer = (() => {
  const state = {groups: [], at: 0, left: '', right: '', mode: 'slider', cut: 50, from: null}, view = {};
  const files = () => state.groups[state.at].files, address = label => files().find(file => file[0] === label)[1];
  const source = label => {       // what a picture was made from, or else the first one
    const labels = files().map(file => file[0]), wanted = /^(fake_A|rec_B|idt_A)/.test(label) && labels.includes('real_B') ? 'real_B' : labels[0];
    return wanted === label ? labels.find(other => other.startsWith('fake')) || labels[labels.length - 1] : wanted;
  };

  function build() {
    const button = (text, label, onclick) => { const made = element('button', {type: 'button', textContent: text, onclick}); if (label) made.setAttribute('aria-label', label); return made; };
    view.dialog = element('dialog', {className: 'viewer', onclose: () => { if (state.from && state.from.isConnected) state.from.focus(); }});
    view.dialog.setAttribute('aria-label', 'pictures');
    view.title = element('h2', {});
    view.before = element('img', {className: 'left'}); view.after = element('img', {className: 'right'});
    view.range = element('input', {type: 'range', min: 0, max: 100, value: 50, oninput: () => { state.cut = Number(view.range.value); slide(); }});
    view.range.setAttribute('aria-label', 'how much of the left picture is shown');
    view.tags = [element('span', {className: 'tag left'}), element('span', {className: 'tag right'})];
    view.stage = element('div', {className: 'stage'}, view.after, view.before, element('span', {className: 'line'}), ...view.tags, view.range);
    view.stage.onpointermove = event => { if (event.pointerType === 'mouse') { const box = view.stage.getBoundingClientRect(); state.cut = 100 * (event.clientX - box.left) / box.width; slide(); } };
    view.choices = [element('select', {onchange: event => { state.left = event.target.value; draw(); }}), element('select', {onchange: event => { state.right = event.target.value; draw(); }})];
    view.choices.forEach((choice, k) => choice.setAttribute('aria-label', ['left picture', 'right picture'][k]));
    view.modes = ['slider', 'flicker', 'difference'].map(mode => button(mode, '', () => setMode(mode)));
    view.previous = button('‹', 'previous image', () => move(-1)); view.next = button('›', 'next image', () => move(1));
    view.dialog.append(element('div', {className: 'top'}, view.title, button('close', '', () => view.dialog.close())),
      element('div', {className: 'middle'}, view.previous, view.stage, view.next),
      element('div', {className: 'controls'}, ...view.choices, ...view.modes,
        element('span', {className: 'soft keys', textContent: '← → other images, 1 to 9 right picture, Shift and 1 to 9 left picture, F flicker, D difference, Esc close'})));
    view.dialog.onkeydown = key;
    view.dialog.onclick = event => { if (event.target === view.dialog) view.dialog.close(); };
    document.body.append(view.dialog);
  }

  function slide() { view.stage.style.setProperty('--cut', `${Math.min(100, Math.max(0, state.cut))}%`); view.range.value = state.cut; }

  function setMode(mode) {
    state.mode = mode;
    view.stage.classList.toggle('flicker', mode === 'flicker'); view.stage.classList.toggle('difference', mode === 'difference');
    view.modes.forEach(button => button.setAttribute('aria-pressed', String(button.textContent === mode)));
  }

  function move(by) {
    state.at = Math.min(state.groups.length - 1, Math.max(0, state.at + by));
    draw();
  }

  function draw() {
    const labels = files().map(file => file[0]), alone = labels.length < 2;
    if (!labels.includes(state.right)) state.right = labels[0];
    if (!labels.includes(state.left)) state.left = source(state.right);
    view.title.textContent = state.groups[state.at].title;
    [[view.before, state.left], [view.after, state.right]].forEach(([image, label]) => { image.src = address(label); image.alt = label; });
    view.tags.forEach((tag, k) => { tag.textContent = [state.left, state.right][k]; tag.hidden = alone && k === 0; });
    view.choices.forEach((choice, k) => {
      choice.hidden = alone;
      choice.replaceChildren(...labels.map(label => element('option', {value: label, textContent: label, selected: label === [state.left, state.right][k]})));
    });
    view.modes.forEach(button => { button.hidden = alone; });
    view.stage.classList.toggle('alone', alone || state.left === state.right);
    view.previous.disabled = state.at === 0; view.next.disabled = state.at === state.groups.length - 1;
    view.after.onload = () => view.stage.style.setProperty('--ratio', view.after.naturalWidth / view.after.naturalHeight);
    slide();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('select')) return;
    const digit = /^Digit([1-9])$/.exec(event.code), labels = files().map(file => file[0]);
    const mode = {f: 'flicker', d: 'difference'}[event.key.toLowerCase()];
    if (mode) setMode(state.mode === mode ? 'slider' : mode);
    else if (event.key === 'ArrowRight') move(1);
    else if (event.key === 'ArrowLeft') move(-1);
    else if (digit && labels[digit[1] - 1]) { state[event.shiftKey ? 'left' : 'right'] = labels[digit[1] - 1]; draw(); }
    else return;
    event.preventDefault();
  }

  function open(groups, at, label, from) {
    if (!view.dialog) build();
    Object.assign(state, {groups, at, right: label, from, cut: 50, left: ''});
    state.left = source(label);
    setMode('slider');
    draw();
    view.dialog.showModal();
    view.range.focus();
  }

  return {open, state};
})();
