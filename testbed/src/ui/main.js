// The page: fields, buttons and figures, wired to a session, a tally and a picture.

import { COLORMAPS } from "./colormap.js";
import { LIMITS, nfftChoices, parseTime, read, readRegion } from "./fields.js";
import { Picture } from "./picture.js";
import { Session } from "./session.js";
import { Tally } from "./tally.js";

const FIELDS = [
  "view",
  "start-time",
  "end-time",
  "channels-from",
  "channels-to",
  "frequency-from",
  "frequency-to",
  "nfft",
  "duration",
  "lines",
];
const STATES = {
  idle: "Idle",
  configuring: "Asking the server…",
  connecting: "Waiting for data…",
  streaming: "Streaming",
  paused: "Paused",
  ended: "Complete",
  failed: "Failed",
};
const FIGURES_MS = 250;
/** The combined digest sorts and hashes every kept row: seldom while they come, at once when they end. */
const DIGEST_MS = 1_000;
/** A shorter drag is a click. */
const LEAST_DRAG = 6;

const $ = (id) => document.getElementById(id);
const rows = [];
const tally = new Tally(rows);
const picture = new Picture($("spectrogram"), { colours });
const session = new Session({ state, begin, row, moved, problem });
let shown = null;
let digestAt = 0;

// ---- What the session tells

function state(name) {
  const running = session.isRunning();
  $("state").dataset.state = name;
  $("state").textContent = STATES[name];
  $("start").textContent = running || name === "configuring" ? "Restart" : "Start";
  $("stop").disabled = !(running || name === "configuring");
  $("pause").disabled = !running || !["streaming", "paused", "connecting"].includes(name);
  $("pause").textContent = name === "paused" ? "Resume" : "Pause";
  $("group-roi").disabled = !running && name !== "ended";
  $("spectrogram").classList.toggle("selectable", canSelect());
  figures();
  if (["ended", "idle", "failed", "paused"].includes(name)) showDigest();
}

function begin(job, keep) {
  shown = { job, request: session.request };
  tally.begin(job.streams.length);
  picture.begin(job, { keep });
  $("empty").hidden = true;
  setText("job-id", job.id);
  setText("row-rate", "–");
  const { channels } = session.request.body;
  $("roi-from").value = channels.min;
  $("roi-to").value = channels.max;
  describePicture();
  legend();
  showDigest();
}

function row(stream, one) {
  tally.add(stream, one, performance.now());
  picture.draw(stream, one);
}

function moved() {
  const { streams } = session.job;
  picture.follow();
  $("roi-from").value = Math.min(...streams.map((stream) => stream.first));
  $("roi-to").value = Math.max(...streams.map((stream) => stream.last));
  describePicture();
}

function problem(one) {
  const box = $("error");
  box.hidden = one === null;
  box.dataset.code = one?.code ?? "";
  // Set only what changes: a screen reader speaks each change.
  setText("error-title", one?.title ?? "");
  setText("error-detail", one?.detail ?? "");
  $("retry").hidden = !one?.retry;
  if (one?.fields) one.fields.forEach(({ field, text }) => mark(field, text));
}

// ---- Fields

function values() {
  return Object.fromEntries([...FIELDS, "roi-from", "roi-to"].map((field) => [field, $(field).value]));
}

function showProblems(list) {
  clearMarks();
  for (const { field, text } of list) mark(field, text);
  const detail = list.map(({ text }) => text).join(" ");
  problem({ code: "invalid_input", title: "These settings cannot be shown.", detail, retry: false });
  $(list[0].field).focus();
}

function mark(field, text) {
  const input = $(field);
  if (!input || input.getAttribute("aria-invalid") === "true") return;
  const note = Object.assign(document.createElement("p"), {
    className: "wrong",
    id: `${field}-problem`,
    textContent: text,
  });
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", note.id);
  input.after(note);
}

function clearMarks() {
  document.querySelectorAll(".wrong").forEach((note) => note.remove());
  document.querySelectorAll("[aria-invalid]").forEach((input) => {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  });
}

// Shows the fields that a view has.
function adapt() {
  const view = $("view").value;
  $("group-time").hidden = view === "live";
  $("time-hint").textContent = view === "historic" ? "UTC or epoch seconds" : "empty for live";
  $("group-channels-to").hidden = view === "single";
  $("channels-from-label").textContent = view === "single" ? "Channel" : "From";
  for (const group of ["group-frequency", "group-nfft", "group-duration"])
    $(group).hidden = view === "waterfall";
  $("nfft-list").replaceChildren(...nfftChoices(view).map((nfft) => new Option(nfft, nfft)));
}

function preset() {
  const asked = new URLSearchParams(location.search);
  const names = { start: "start-time", end: "end-time" };
  for (const [name, value] of asked) {
    const field = $(names[name] ?? name.replaceAll("_", "-"));
    if (field && [...FIELDS, "colormap", "scale"].includes(field.id)) {
      const known = field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value);
      if (known) field.value = value;
    }
  }
  return asked.get("run") === "1";
}

// ---- Actions

async function start() {
  clearMarks();
  if (LIMITS.highestChannel === null) await learn();
  const { problems, request } = read(values(), Math.floor(Date.now() / 1000));
  if (problems.length > 0) {
    showProblems(problems);
    if (!session.isRunning()) session.state("failed");
    return;
  }
  await session.start(request, { keep: false });
}

// Tries the last request again: a live picture goes on below what is there, a playback begins anew.
async function retry() {
  clearMarks();
  const before = session.request;
  if (!before || !sameAsForm(before)) {
    await start();
    return;
  }
  const live = before.body.start_time === null;
  await session.start(before, { keep: live && tally.drawn > 0 });
}

function sameAsForm(request) {
  const { request: asked } = read(values(), Math.floor(Date.now() / 1000));
  if (!asked) return false;
  const apart = { channels: null };
  const before = { ...request.body, start_time: request.wholeFrom ?? request.body.start_time, ...apart };
  return JSON.stringify({ ...asked.body, ...apart }) === JSON.stringify(before);
}

async function applyRegion() {
  const { problems, region } = readRegion(values(), shown.request.view);
  if (problems.length > 0) {
    showProblems(problems);
    return;
  }
  clearMarks();
  const wholeFrom = shown.request.wholeFrom ?? shown.request.body.start_time;
  const body = { ...shown.request.body, channels: region, start_time: wholeFrom };
  // A playback goes on from the second that it has reached; one that is over is played again.
  const reached = rows.reduce((most, one) => Math.max(most, one.key), 0);
  const playing = body.start_time !== null && session.isRunning() && reached > 0;
  if (playing) body.start_time = Math.min(Math.floor(reached / 1000), body.end_time - 1);
  await session.start({ view: shown.request.view, body, wholeFrom }, { keep: session.isRunning() });
}

function resetRegion() {
  const { min, max } =
    read(values(), Math.floor(Date.now() / 1000)).request?.body.channels ?? shown.request.body.channels;
  $("roi-from").value = min;
  $("roi-to").value = max;
  return applyRegion();
}

// ---- Region by drag

function canSelect() {
  return session.isRunning() && shown !== null && shown.request.view !== "single";
}

function listenToDrags(canvas) {
  let from = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const cancel = () => {
    from = null;
    picture.select(null);
  };
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = place(event);
    if (event.button !== 0 || !canSelect() || !picture.at(x, y)) return;
    from = { x, y };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    readout(picture.at(x, y));
    if (from) picture.select([Math.min(from.x, x), Math.max(from.x, x)]);
  });
  canvas.addEventListener("pointerleave", () => readout(null));
  canvas.addEventListener("pointerup", (event) => {
    if (!from) return;
    const { x: begun, y } = from;
    const plot = picture.plot();
    const end = Math.min(Math.max(place(event)[0], plot.x), plot.x + plot.width - 1);
    cancel();
    if (Math.abs(end - begun) < LEAST_DRAG) return;
    const [low, high] = [picture.at(Math.min(begun, end), y), picture.at(Math.max(begun, end), y)];
    if (!low || !high) return;
    $("roi-from").value = low.channel;
    $("roi-to").value = high.channel;
    applyRegion();
  });
  canvas.addEventListener("pointercancel", cancel);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
  });
}

// ---- Figures

function figures() {
  const now = performance.now();
  setText("rows-drawn", String(tally.drawn));
  const losses = tally.losses();
  const counts = {
    "rows-lost": losses.lost,
    "rows-duplicate": losses.duplicates,
    "rows-reordered": losses.reordered,
    "rows-damaged": tally.damaged,
  };
  for (const [id, count] of Object.entries(counts)) {
    setText(id, String(count));
    $(id).classList.toggle("bad", count > 0);
  }
  if (!shown) return;
  const wanted = 1000 / shown.job.stepMs;
  if (["streaming", "paused", "connecting"].includes(session.name)) {
    const rate = tally.ratePerStream(now);
    const live = shown.request.body.start_time === null;
    if (rate === null) setText("row-rate", "–");
    else if (live) setText("row-rate", `${rate.toFixed(2)} of ${wanted.toFixed(2)}`);
    else setText("row-rate", `${rate.toFixed(1)} (${(rate / wanted).toFixed(1)} × real time)`);
    $("row-rate").dataset.rate = rate === null ? "" : rate.toFixed(3);
    $("row-rate").dataset.expected = wanted.toFixed(3);
  }
  legend();
  if (session.name === "streaming" && now - digestAt >= DIGEST_MS) showDigest();
}

function showDigest() {
  digestAt = performance.now();
  setText("rows-drawn", String(tally.drawn));
  setText("rows-digest", tally.drawn === 0 ? "–" : tally.combined());
}

function legend() {
  const [least, most] = picture.extrema ?? [null, null];
  setText("legend-min", least === null ? "–" : amplitude(least));
  setText("legend-max", most === null ? "–" : amplitude(most));
}

function legendBar() {
  const context = $("legend-bar").getContext("2d");
  const image = new ImageData(256, 12);
  const pixels = new Uint32Array(image.data.buffer);
  for (let line = 0; line < 12; line += 1) pixels.set(COLORMAPS[picture.colormap], line * 256);
  context.putImageData(image, 0, 0);
}

function amplitude(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function readout(place) {
  if (!place) {
    setText("readout", "");
    return;
  }
  if (place.past) {
    setText("readout", place.time === null ? "" : `${clock(place.time)}, before the region changed`);
    return;
  }
  const hertz = place.frequency === null ? "" : ` · ${place.frequency.toFixed(0)} Hz`;
  const time = place.time === null ? "" : ` · ${clock(place.time)}`;
  setText("readout", `Channel ${place.channel}${hertz}${time}`);
}

function clock(time) {
  return `${new Date(time).toISOString().slice(11, 23)} UTC`;
}

function describePicture() {
  const channels = { min: $("roi-from").value, max: $("roi-to").value };
  const what =
    channels.min === channels.max ? `channel ${channels.min}` : `channels ${channels.min} to ${channels.max}`;
  $("spectrogram").setAttribute(
    "aria-label",
    `Spectrogram of ${what}, ${$("view").selectedOptions[0].textContent}`,
  );
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ground: colour("panel"), text: colour("text"), quiet: colour("quiet"), hole: colour("picture") };
}

function setText(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

// ---- What the server has

async function learn() {
  const get = async (path) => {
    const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
    return answer.ok ? answer.json() : null;
  };
  const [channels, fibre] = await Promise.all([
    get("channels").catch(() => null),
    get("live_metadata").catch(() => null),
  ]);
  if (Number.isInteger(channels?.highest_channel)) {
    LIMITS.lowestChannel = channels.lowest_channel ?? 1;
    LIMITS.highestChannel = channels.highest_channel;
    setText("channels-hint", `${LIMITS.lowestChannel}–${LIMITS.highestChannel}`);
  }
  if (fibre?.prr > 0) {
    LIMITS.frequency = Math.min(1000, fibre.prr / 2);
    const length = `${fibre.fiber_length_meters} m, ${Math.round(fibre.number_of_channels)} channels`;
    setText("fibre", `Fibre: ${fibre.fiber_description}, ${length}, ${fibre.prr} pulses/s`);
  } else if (fibre) {
    setText("fibre", "Fibre: the server is waiting for it");
  } else {
    setText("fibre", "Fibre: not known");
  }
}

// ---- Begin

window.panda = {
  /** The last 20,000 rows of this job that were drawn: `{ stream, key, row, digest }`. */
  get rows() {
    return tally.kept();
  },
  get state() {
    return session.name;
  },
  get job() {
    return session.job ?? null;
  },
};

$("configuration").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("stop").addEventListener("click", () => session.stop());
$("pause").addEventListener("click", () => (session.paused ? session.resume() : session.pause()));
$("retry").addEventListener("click", retry);
$("apply-roi").addEventListener("click", applyRegion);
$("reset-roi").addEventListener("click", resetRegion);
for (const field of ["roi-from", "roi-to"]) {
  $(field).addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    applyRegion();
  });
}
$("view").addEventListener("change", () => {
  clearMarks();
  adapt();
});
$("colormap").addEventListener("change", () => {
  picture.setColormap($("colormap").value);
  legendBar();
});
$("scale").addEventListener("change", () => picture.setScale($("scale").value));
for (const field of ["start-time", "end-time"]) {
  // Leaves a clear time behind, whatever way it was written in.
  $(field).addEventListener("change", () => {
    const time = parseTime($(field).value);
    if (time !== null) $(field).value = `${new Date(time * 1000).toISOString().slice(0, 19)}Z`;
  });
}
listenToDrags($("spectrogram"));
setInterval(figures, FIGURES_MS);

const runAtOnce = preset();
adapt();
picture.setColormap($("colormap").value);
picture.setScale($("scale").value);
legendBar();
state("idle");
learn().then(() => runAtOnce && start());
