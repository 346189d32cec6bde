// What testmesh does inside a page: finds elements, waits until they can be used, and tells when something was displayed.
//
// The whole is an expression; its value is the one object of this kind in its world, which is an isolated one unless an
// expression of the page's own is waited for. Answers are plain data: { ok: true, … }, { ok: false, why } when the time is
// over, or { ok: false, broken } for what waiting cannot mend.
(() => {
  const KEY = Symbol.for("testmesh");
  if (window[KEY]) return window[KEY];

  const TEXT_CHARS = 65536;
  const SAME_PLACE_MS = 10;
  const TEXT_EVERY_FRAMES = 6;
  // Fields whose value cannot be typed as it is written in a plan.
  const SET_TYPES = new Set(["color", "date", "datetime-local", "month", "range", "time", "week"]);
  const CLICKED_TYPES = new Set(["button", "checkbox", "file", "image", "radio", "reset", "submit"]);
  const BUTTON_TYPES = new Set(["button", "reset", "submit"]);
  const UNSEEN = new Set(["HEAD", "NOSCRIPT", "SCRIPT", "STYLE", "TEMPLATE"]);
  const CONTROLS = new Set(["BUTTON", "INPUT", "SELECT", "TEXTAREA"]);
  const NAMED = "input,select,textarea,button,a[href],summary,img,[role],[aria-label],[aria-labelledby],[contenteditable]";
  const NAMED_BY_CONTENT =
    "button,a,summary,[role=button],[role=checkbox],[role=link],[role=menuitem],[role=option],[role=radio],[role=switch],[role=tab]";

  class Broken extends Error {}

  const now = () => performance.timeOrigin + performance.now();
  const plain = (text) => (text || "").replace(/\s+/g, " ").trim();
  const not = (why) => ({ ok: false, why });

  /** The text of an element without that of some elements in it. */
  const textOf = (node, without) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || without.has(node.tagName)) return "";
    return [...node.childNodes].map((child) => textOf(child, without)).join("");
  };

  /** As a person would point at it. */
  const describe = (element) => {
    const id = element.id ? `#${element.id}` : "";
    const classes = [...element.classList].slice(0, 3).map((name) => `.${name}`).join("");
    const text = plain(element.textContent).slice(0, 40);
    return `<${element.tagName.toLowerCase()}${id}${classes}>${text && ` "${text}"`}`;
  };

  const visible = (element) => {
    const shown = { visibilityProperty: true, checkVisibilityCSS: true, contentVisibilityAuto: true };
    if (!element.isConnected || !element.checkVisibility(shown)) return false;
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  };

  /** In quotes: the whole text as it is; else a part of it, in upper or lower case. */
  const matcher = (wanted) => {
    const quoted = /^"(.*)"$/s.exec(wanted);
    const text = plain(quoted ? quoted[1] : wanted);
    if (text === "") throw new Broken("the text to look for is empty");
    if (quoted) return { contains: (whole) => whole.includes(text), is: (whole) => whole === text };
    const contains = (whole) => whole.toLowerCase().includes(text.toLowerCase());
    return { contains, is: contains };
  };

  /** The smallest elements with that text. */
  const byText = (wanted) => {
    const { contains, is } = matcher(wanted);
    const found = [];
    const search = (element) => {
      if (UNSEEN.has(element.tagName) || !contains(plain(element.textContent))) return false;
      let within = false;
      for (const child of element.children) within = search(child) || within;
      if (within) return true;
      const matches = is(plain(textOf(element, UNSEEN)));
      if (matches) found.push(element);
      return matches;
    };
    if (document.body) search(document.body);
    for (const input of document.querySelectorAll("input"))
      if (BUTTON_TYPES.has(input.type) && is(plain(input.value))) found.push(input);
    return found;
  };

  /** The accessible name, as far as it follows from the document. */
  const nameOf = (element) => {
    const ids = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const others = plain(ids.map((id) => document.getElementById(id)?.textContent).join(" "));
    if (others) return others;
    const own = plain(element.getAttribute("aria-label"));
    if (own) return own;
    const labels = plain([...(element.labels || [])].map((label) => textOf(label, CONTROLS)).join(" "));
    if (labels) return labels;
    if (element.tagName === "INPUT" && BUTTON_TYPES.has(element.type)) return plain(element.value);
    if (element.matches(NAMED_BY_CONTENT) && plain(element.textContent)) return plain(element.textContent);
    return plain(element.getAttribute("alt") || element.getAttribute("title") || element.getAttribute("placeholder"));
  };

  const byLabel = (wanted) => {
    const { is } = matcher(wanted);
    return [...document.querySelectorAll(NAMED)].filter((element) => is(nameOf(element)));
  };

  const find = (selector) => {
    if (selector.startsWith("text=")) return byText(selector.slice(5));
    if (selector.startsWith("label=")) return byLabel(selector.slice(6));
    try {
      return [...document.querySelectorAll(selector)];
    } catch (error) {
      throw new Broken(`it is no selector: ${error.message}`);
    }
  };

  /** The first visible element. */
  const pick = (selector) => {
    const all = find(selector);
    if (all.length === 0) return not("no element matches");
    const element = all.find(visible);
    if (element) return { element };
    return not(all.length === 1 ? `${describe(all[0])} is not visible` : `${all.length} elements match, but none is visible`);
  };

  /**
   * Looks until `test` finds something: after every change of the document, and in every frame. With `paint`, `at` is the
   * moment after the frame that shows it. `already`: it was so at the first look, and nobody knows since when.
   */
  const watch = (test, { ms, paint = false, everyFrames = 1 }) =>
    new Promise((done) => {
      let [why, over, seen, frames] = ["nobody has looked", false, false, 0];
      const observer = new MutationObserver(() => look(false, false));
      const finish = (answer) => {
        if (over) return;
        over = true;
        observer.disconnect();
        clearTimeout(timer);
        done(answer);
      };
      const found = (answer, inFrame, already) => {
        seen = true;
        if (!paint || already) return finish({ ...answer, already, at: now() });
        const painted = new MessageChannel();
        painted.port1.onmessage = () => finish({ ...answer, already, at: now() });
        const afterThisFrame = () => painted.port2.postMessage(null);
        if (inFrame) afterThisFrame();
        else requestAnimationFrame(afterThisFrame);
      };
      const look = (inFrame, already) => {
        if (over || seen) return;
        try {
          const answer = test();
          if (answer.ok) found(answer, inFrame, already);
          else why = answer.why;
        } catch (error) {
          if (error instanceof Broken) finish({ ok: false, broken: error.message });
          else why = `it throws ${error}`;
        }
      };
      const frame = () => {
        frames += 1;
        if (frames % everyFrames === 0) look(true, false);
        if (!over && !seen) requestAnimationFrame(frame);
      };
      const timer = setTimeout(() => finish(not(why)), ms);
      look(false, true);
      if (over || seen) return;
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      requestAnimationFrame(frame);
    });

  /** The middle of what there is to click, scrolled into view. */
  const point = (element) => {
    const middle = () => {
      const area = (box) => box.width * box.height;
      const boxes = [...element.getClientRects()].sort((one, other) => area(other) - area(one));
      const box = boxes[0] || element.getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    };
    const { x, y } = middle();
    if (x >= 0 && y >= 0 && x < innerWidth && y < innerHeight) return { x, y };
    element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    return middle();
  };

  const isDisabled = (element) => element.matches(":disabled") || element.closest('[aria-disabled="true"]') !== null;

  /** A test that holds once the element can be used. */
  const usable = (selector, purpose, check = () => null) => {
    let last = null;
    return () => {
      const { element, why } = pick(selector);
      if (!element) return not(why);
      const name = describe(element);
      if (isDisabled(element)) return not(`${name} is disabled`);
      const objection = check(element, name);
      if (objection) return not(objection);
      if (purpose !== "click") return { ok: true, element, name };
      const { x, y } = point(element);
      const still = last && last.element === element && Math.abs(last.x - x) < 1 && Math.abs(last.y - y) < 1;
      if (!still) last = { element, x, y, since: now() };
      if (!still || now() - last.since < SAME_PLACE_MS) return not(`${name} moves`);
      const hit = document.elementFromPoint(x, y);
      const reaches = hit && (element.contains(hit) || hit.closest("label")?.control === element);
      if (!reaches) return not(`${name} is covered by ${hit ? describe(hit) : "nothing, for it is out of view"}`);
      return { ok: true, element, name, x, y };
    };
  };

  const use = async (test, ms, act = () => ({})) => {
    const { element, ...answer } = await watch(test, { ms });
    if (!answer.ok) return answer;
    try {
      return { ...answer, ...act(element, answer.name) };
    } catch (error) {
      return { ok: false, broken: error.message };
    }
  };

  const changed = (element) => {
    element.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
  };

  const isField = (element, name) => {
    const typed = element.tagName === "TEXTAREA" || (element.tagName === "INPUT" && !CLICKED_TYPES.has(element.type));
    if (!typed && !element.isContentEditable) throw new Broken(`${name} is no field that takes text`);
    return element.readOnly ? `${name} is read-only` : null;
  };

  const valueOf = (element) => (element.isContentEditable ? element.textContent : element.value);

  let filling = null;

  /** Makes a field ready for text; some take it at once. */
  const prepare = (text) => (element, name) => {
    element.focus();
    if (element.tagName === "INPUT" && SET_TYPES.has(element.type)) {
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(element, text);
      const takes = element.type === "color" ? text.toLowerCase() : text;
      if (element.value !== takes) throw new Broken(`${name} of type ${element.type} does not take that value`);
      changed(element);
      return { done: true };
    }
    if (element.isContentEditable) getSelection().selectAllChildren(element);
    else element.select();
    filling = { element, name, before: valueOf(element) };
    return { done: false, empty: filling.before === "" };
  };

  const choose = (option) => (element) => {
    const chosen = options(element, option)[0];
    element.focus();
    for (const other of element.options) if (other.selected && !element.multiple) other.selected = false;
    chosen.selected = true;
    changed(element);
    return {};
  };

  const options = (element, option) => {
    const all = [...element.options].filter((one) => !one.disabled);
    const labelled = all.filter((one) => plain(one.label) === plain(option));
    return labelled.length ? labelled : all.filter((one) => one.value === option);
  };

  const hasOption = (option) => (element, name) => {
    if (element.tagName !== "SELECT") throw new Broken(`${name} is no list to select from`);
    if (options(element, option).length) return null;
    const there = [...element.options].slice(0, 10).map((one) => `"${plain(one.label)}"`);
    return `${name.replace(/ ".*"$/s, "")} has no such option; it has ${there.join(", ") || "none"}`;
  };

  const TESTS = {
    selector: (selector) => () => {
      const { element, why } = pick(selector);
      return element ? { ok: true } : not(why);
    },
    text: (text) => () => {
      const { element, why } = pick(`text=${text}`);
      return element ? { ok: true } : not(why === "no element matches" ? "the page does not show it" : why);
    },
    gone: (selector) => () => {
      const there = find(selector).find(visible);
      if (there) return not(`${describe(there)} is still there`);
      // At its beginning a document has nothing.
      return document.readyState === "loading" ? not("the document is still loading") : { ok: true };
    },
    expr: (evaluate) => () => {
      const value = evaluate();
      if (value instanceof Promise) throw new Broken("its value is a promise; wait for something that is there at once");
      return value ? { ok: true } : not(`it is ${plain(`${typeof value === "object" ? JSON.stringify(value) : value}`).slice(0, 80)}`);
    },
  };

  const armed = new Map();
  const begin = (kind, what, ms) =>
    watch(TESTS[kind](what), { ms, paint: true, everyFrames: kind === "selector" || kind === "expr" ? 1 : TEXT_EVERY_FRAMES });

  const engine = {
    click: (selector, ms) => use(usable(selector, "click"), ms),
    focus: (selector, ms) => use(usable(selector, "focus"), ms, (element) => (element.focus(), {})),
    fill: (selector, text, ms) => use(usable(selector, "fill", isField), ms, prepare(text)),
    /** Whether text that was typed has arrived. */
    filled: (text) => {
      const { element, name, before } = filling;
      const took = valueOf(element) !== before || before === text || text === "";
      return took ? { ok: true } : { ok: false, broken: `${name} did not take the text: it still holds what it held` };
    },
    select: (selector, option, ms) => use(usable(selector, "select", hasOption(option)), ms, choose(option)),
    /** Begins to wait, for a `wait` with the same number. */
    arm: (id, kind, what, ms) => void armed.set(id, begin(kind, what, ms)),
    wait: (id, kind, what, ms) => armed.get(id) || begin(kind, what, ms),
    /** Whether the document is there with all that belongs to it. */
    loaded: (ms) =>
      watch(() => (document.readyState === "complete" ? { ok: true } : not(`the document is ${document.readyState}`)), { ms }),
    seen: () => {
      const text = document.body ? document.body.innerText : "";
      return { url: location.href, title: document.title, text: text.slice(0, TEXT_CHARS) };
    },
    timing: () => {
      const entry = performance.getEntriesByType("navigation")[0];
      if (!entry) return null;
      const { startTime, connectStart, connectEnd, requestStart, responseStart, responseStatus } = entry;
      const since = (mark) => (mark > 0 ? (mark - startTime) / 1000 : null);
      return {
        status: responseStatus || null,
        connect: connectEnd > connectStart ? (connectEnd - connectStart) / 1000 : null,
        answered: responseStart > 0 ? (responseStart - requestStart) / 1000 : null,
        first_byte: since(responseStart),
        dom_ready: since(entry.domContentLoadedEventEnd),
        load: since(entry.loadEventEnd),
        started: performance.timeOrigin,
      };
    },
  };

  // When real input came, in the page's own clock: before any listener of the page's.
  const tell = (event) => {
    if (event.isTrusted) globalThis.testmeshInput?.(JSON.stringify({ type: event.type, at: performance.timeOrigin + event.timeStamp }));
  };
  for (const type of ["pointerup", "keydown"]) addEventListener(type, tell, { capture: true, passive: true });

  Object.defineProperty(window, KEY, { value: engine });
  return engine;
})()
