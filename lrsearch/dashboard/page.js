// Added to the pages of Optuna's dashboard by additions.py.
"use strict";
(() => {
  const EVERY = 10_000; // milliseconds between two looks for news

  const read = async (path) => {
    try {
      const answer = await fetch(path);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the page asks again
    }
  };
  const set = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };

  // The list of studies: the progress and the best value of each.
  let cards = [];
  const showCards = () => {
    for (const card of cards) {
      const link = document.querySelector(`a.MuiCardActionArea-root[href$="/studies/${card.id}"]`);
      const content = link && link.querySelector(".MuiCardContent-root");
      if (!content) continue;
      let box = content.querySelector(".lrsearch-card");
      if (!box) {
        box = document.createElement("div");
        box.className = "lrsearch-card";
        box.append(document.createElement("progress"));
        for (const _ of card.lines) box.append(document.createElement("p"));
        content.append(box);
      }
      const [bar, ...lines] = box.children;
      bar.max = Math.max(1, card.total);
      bar.value = card.done;
      bar.setAttribute("aria-label", card.lines[0]);
      lines.forEach((line, k) => set(line, card.lines[k]));
    }
  };

  // Trials that are neither complete nor running: Optuna calls a diverged one pruned.
  let outcomes = {};
  const TITLE = /^Trial (\d+)/;
  const STATES = new Set(["Pruned", "Fail"]);
  const named = (label) => {
    const item = label.closest("li");
    if (item) return TITLE.exec(item.textContent);
    for (let box = label.parentElement; box && box.tagName !== "MAIN"; box = box.parentElement) {
      const title = [...box.querySelectorAll("h4, h5, h6")].find((one) => TITLE.test(one.textContent));
      if (title) return TITLE.exec(title.textContent);
    }
    return null;
  };
  const isState = (text) => STATES.has(text) || Object.values(outcomes).includes(text);
  const showOutcomes = () => {
    for (const label of document.querySelectorAll("main .MuiChip-label")) {
      if (!isState(label.textContent)) continue;
      const match = named(label);
      if (match && outcomes[match[1]]) setText(label, outcomes[match[1]]);
    }
    for (const row of document.querySelectorAll("main tbody tr")) {
      const cells = [...row.querySelectorAll("td, th")];
      const state = cells.find((cell) => isState(cell.textContent));
      const number = cells.find((cell) => /^\d+$/.test(cell.textContent));
      if (state && number && outcomes[number.textContent]) {
        setText(state, outcomes[number.textContent]);
      }
    }
  };
  // React keeps the text node: only its text is changed.
  const setText = (element, text) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const node = walker.nextNode();
    if (node && node.nodeValue !== text) node.nodeValue = text;
  };

  const shownStudy = () => (/\/studies\/(\d+)/.exec(location.pathname) || [])[1];
  let study;
  const look = async () => {
    if (document.hidden) return;
    const now = shownStudy();
    if (now === undefined) {
      cards = (await read("/lrsearch/studies")) || cards;
    } else {
      if (now !== study) outcomes = {};
      study = now;
      const known = await read(`/lrsearch/studies/${now}/outcomes`);
      if (now === shownStudy()) outcomes = known || outcomes;
    }
    show();
  };
  const show = () => {
    if (shownStudy() === undefined) showCards();
    else showOutcomes();
  };

  let waiting = false, path = location.pathname;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (path !== location.pathname) {
        path = location.pathname;
        look();
      }
      show();
    });
  };
  new MutationObserver(soon).observe(document.body, {
    childList: true, subtree: true, characterData: true,
  });
  document.addEventListener("visibilitychange", look);
  setInterval(look, EVERY);
  look();
})();
