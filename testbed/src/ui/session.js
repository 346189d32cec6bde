// One view from configure to its end: the job, a websocket per stream, and what goes wrong with them.
//
// Owns the connections. Tells its `view` what happened and never touches the page:
//
// | call | when |
// | --- | --- |
// | `state(name)` | configuring, connecting, streaming, paused, ended, failed, idle |
// | `begin(job, keep)` | a job was accepted; its rows follow |
// | `row(stream, row)` | a row is to be drawn |
// | `moved()` | the job's streams have other channels from the next row on |
// | `problem(problem or null)` | something is wrong, or is no more |

import * as problems from "./problem.js";
import { decode } from "./row.js";

const CONFIGURE_PATIENCE_S = 60;
/** The bridge gives up after 30 s; this is for a bridge that says nothing. */
const OPEN_PATIENCE_MS = 40_000;
/** Rows that the bridge may send ahead, and how often it is told of those that were drawn. */
const WINDOW = 256;
const TELL_EVERY = 32;
/** A stream is silent after so many lines and so long; called again each so often, so many times. */
const SILENT_LINES = 3;
const SILENT_MS = 2_000;
const REDIAL_MS = 5_000;
const REDIALS = 10;
/** After a playback's last row, when the server does not end the stream by itself. */
const QUIET_END_MS = 1_500;
const WATCH_MS = 250;
/** A playback's streams keep together: none is further ahead than this part of the picture. */
const LEAD = 0.25;

export class Session {
  constructor(view) {
    this.view = view;
    this.links = [];
    this.generation = 0;
    this.name = "idle";
    setInterval(() => this.watch(), WATCH_MS);
  }

  /**
   * Asks for a job and shows it. What was shown goes on until the new job is accepted, if `keep`.
   * @param {{view: string, body: object, wholeFrom?: number | null}} request `wholeFrom` is where a playback began that
   * goes on in the middle
   */
  async start(request, { keep }) {
    this.generation += 1;
    const generation = this.generation;
    this.abort?.abort();
    if (!keep) this.close();
    this.view.problem(null);
    this.state("configuring");
    this.abort = new AbortController();
    let job = null;
    let problem = null;
    try {
      job = await configure(request, this.abort.signal);
      if (request.body.start_time !== null) job.endMs = await recordedUntil(request.body, this.abort.signal);
    } catch (error) {
      problem = error.problem ?? problems.senseless(String(error.message));
    }
    if (generation !== this.generation) return;
    if (problem) {
      this.refuse(problem, keep);
      return;
    }
    this.close();
    this.job = job;
    this.request = request;
    this.paused = false;
    this.view.begin(job, keep);
    this.state("connecting");
    this.links = job.streams.map((_, stream) => new Link(this, stream));
  }

  stop() {
    this.generation += 1;
    this.abort?.abort();
    this.close();
    this.view.problem(null);
    this.state("idle");
  }

  pause() {
    this.paused = true;
    this.state("paused");
  }

  resume() {
    this.paused = false;
    for (const link of this.links) link.heardAt = performance.now();
    this.advance();
    if (this.name === "paused") this.settle();
  }

  /** Handles what has come, as far as each stream may. */
  advance() {
    if (this.advancing) return;
    this.advancing = true;
    try {
      for (let moved = true; moved;) {
        moved = false;
        for (const link of this.links) {
          while (link.mayHandle()) {
            link.handle(link.waiting.shift());
            moved = true;
          }
        }
      }
    } finally {
      this.advancing = false;
    }
  }

  /** Whether rows come or may come. */
  isRunning() {
    return this.links.some((link) => !link.done);
  }

  refuse(problem, keep) {
    this.view.problem(problem);
    if (keep && this.isRunning()) this.settle();
    else this.state("failed");
  }

  fail(problem) {
    this.close();
    this.view.problem(problem);
    this.state("failed");
  }

  close() {
    this.silent = false;
    for (const link of this.links) link.close();
  }

  /** The state that follows from the streams. */
  settle() {
    if (this.links.length > 0 && this.links.every((link) => link.done)) {
      this.view.problem(null);
      this.state("ended");
    } else if (this.paused) this.state("paused");
    else if (this.links.every((link) => link.lastKey !== null || link.done)) this.state("streaming");
    else this.state("connecting");
  }

  state(name) {
    this.name = name;
    this.view.state(name);
  }

  // Looks for streams that are silent. A paused page takes no rows, so none is expected.
  watch() {
    if (this.paused || !["connecting", "streaming"].includes(this.name)) return;
    const now = performance.now();
    let worst = null;
    for (const link of this.links) {
      const silence = link.watch(now);
      if (this.name === "failed" || this.name === "ended") return;
      if (silence && (!worst || silence.ms > worst.ms)) worst = silence;
    }
    if (worst) {
      this.silent = true;
      this.view.problem(problems.silent(worst.stream, Math.floor(worst.ms / 1000), worst.redials));
    } else if (this.silent) {
      this.silent = false;
      this.view.problem(null);
    }
  }
}

/** One stream: its websocket, and the next one when it is called again. */
class Link {
  constructor(session, stream) {
    this.session = session;
    this.stream = stream;
    this.lastKey = null;
    this.done = false;
    this.redials = 0;
    this.waiting = [];
    this.dial();
  }

  dial() {
    this.opened = false;
    this.untold = 0;
    this.replayedTo = this.session.job.endMs ? this.lastKey : null;
    this.dialedAt = performance.now();
    this.heardAt = this.dialedAt;
    const { id } = this.session.job;
    const url = new URL(
      `panda/stream?job_id=${encodeURIComponent(id)}&stream=${this.stream}&window=${WINDOW}`,
      location.href,
    );
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = () => this.lost(socket);
    this.socket = socket;
  }

  close() {
    this.done = true;
    this.waiting.length = 0;
    this.hangUp();
  }

  hangUp() {
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.close();
  }

  // At most as many as the window has rows wait, and a status.
  take(data) {
    this.waiting.push(data);
    this.session.advance();
  }

  mayHandle() {
    return !this.done && this.waiting.length > 0 && !this.session.paused && !this.isAhead();
  }

  /**
   * Whether the others must catch up first: the server sends each stream of a playback as fast as it goes, and a picture
   * that has scrolled on with one has no place for the rows of another.
   */
  isAhead() {
    const { endMs, stepMs, lines } = this.session.job;
    if (endMs === undefined || this.lastKey === null) return false;
    const start = this.session.request.body.start_time * 1000;
    const others = this.session.links.filter((link) => !link.done).map((link) => link.lastKey ?? start);
    return this.lastKey - Math.min(this.lastKey, ...others) > lines * LEAD * stepMs;
  }

  handle(data) {
    if (typeof data === "string") this.told(JSON.parse(data));
    else this.row(data);
  }

  row(buffer) {
    let row;
    try {
      row = decode(buffer);
    } catch (error) {
      this.session.fail(problems.unreadable(this.stream, error.message));
      return;
    }
    if (!this.isOurs(row)) return;
    const first = this.lastKey === null;
    const key = row.times[0];
    this.heardAt = performance.now();
    this.tell();
    // A playback that was called again begins anew: what is drawn already is not drawn twice.
    if (this.replayedTo !== null && key <= this.replayedTo) return;
    this.lastKey = this.lastKey === null ? key : Math.max(this.lastKey, key);
    this.redials = 0;
    this.session.view.row(this.stream, row);
    if (first) this.session.settle();
  }

  // A first row of other channels is another job's; later on, somebody has moved the job's region by a command.
  isOurs(row) {
    const { first, last } = this.session.job.streams[this.stream];
    const { startChannel, endChannel } = row;
    if (startChannel === first && endChannel === last) return true;
    if (this.lastKey === null) {
      const [sent, promised] = [`${startChannel} to ${endChannel}`, `${first} to ${last}`];
      this.session.fail(problems.foreign(this.stream, sent, promised));
      return false;
    }
    this.session.job.streams[this.stream] = { first: startChannel, last: endChannel };
    this.session.view.moved();
    return true;
  }

  tell() {
    this.untold += 1;
    if (this.untold < TELL_EVERY || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(String(this.untold));
    this.untold = 0;
  }

  told(frame) {
    if (frame.event === "open") {
      this.opened = true;
      this.heardAt = performance.now();
      return;
    }
    if (frame.status === undefined) return;
    if (this.isComplete()) this.finish();
    else if (frame.status === "OK") this.session.fail(problems.endedEarly(this.stream, this.left()));
    else this.fail(frame);
  }

  fail(end) {
    const opened = this.opened || this.lastKey !== null;
    this.session.fail(
      problems.streamFailed(end, { stream: this.stream, opened, jobId: this.session.job.id }),
    );
  }

  // The websocket closed without a status: the server or the network is gone.
  async lost(socket) {
    if (this.done || socket !== this.socket) return;
    if (this.waiting.length > 0) {
      // What has come is shown first, when the user resumes.
      this.take(JSON.stringify({ status: "UNAVAILABLE", message: "" }));
      return;
    }
    const here = await fetch("ack", { signal: AbortSignal.timeout(5_000) }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (this.done || socket !== this.socket) return;
    if (here) this.fail({ status: "UNAVAILABLE", message: "" });
    else this.session.fail(problems.unreachable());
  }

  finish() {
    this.close();
    this.session.settle();
    this.session.advance();
  }

  /** Whether every recorded row was drawn: no other fits before the range's end. */
  isComplete() {
    const { endMs, stepMs } = this.session.job;
    return endMs !== undefined && this.lastKey !== null && this.lastKey + stepMs + 1 >= endMs;
  }

  left() {
    const { endMs, stepMs } = this.session.job;
    if (endMs === undefined) return "although the view is live";
    if (this.lastKey === null) return "without a row";
    return `${((endMs - this.lastKey - stepMs) / 1000).toFixed(1)} s before the end of the recording`;
  }

  /** How long the stream has been silent, if it is; calls it again when it is time. */
  watch(now) {
    if (this.done) return null;
    if (this.isAhead()) {
      // Its rows wait here.
      this.heardAt = now;
      return null;
    }
    const quiet = now - this.heardAt;
    if (this.isComplete()) {
      if (quiet > QUIET_END_MS) this.finish();
      return null;
    }
    if (!this.opened && this.redials === 0) {
      if (now - this.dialedAt > OPEN_PATIENCE_MS) {
        this.fail({ status: "DEADLINE_EXCEEDED", message: "" });
      }
      return null;
    }
    const patience = SILENT_LINES * this.session.job.stepMs + SILENT_MS;
    this.silentSince = this.redials === 0 ? this.heardAt : this.silentSince;
    const silence = now - this.silentSince;
    if (silence <= patience) return null;
    if (now - Math.max(this.dialedAt, this.heardAt) > patience + REDIAL_MS) {
      if (this.redials === REDIALS) {
        this.session.fail(problems.silent(this.stream, Math.floor(silence / 1000), this.redials));
        return null;
      }
      this.redials += 1;
      this.hangUp();
      this.dial();
    }
    return { stream: this.stream, ms: silence, redials: this.redials };
  }
}

async function configure(request, signal) {
  const { status, text } = await ask("configure", request.body, signal);
  if (status !== 200) throw failure(problems.refused(status, text, request.body));
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw failure(problems.senseless("It is not JSON."));
  }
  return job(answer, request);
}

function job(answer, { body }) {
  const amount = Number(answer.stream_amount);
  const stepMs = Number(answer.lines_dt) * 1000;
  const right =
    typeof answer.job_id === "string" && Number.isInteger(amount) && amount > 0 && amount <= 64 && stepMs > 0;
  if (!right) throw failure(problems.senseless("It names no job, no streams or no time between lines."));
  const map = Object.entries(answer.channel_to_stream_index ?? {});
  const streams = Array.from({ length: amount }, (_, stream) => {
    const channels = map.filter(([, index]) => Number(index) === stream).map(([channel]) => Number(channel));
    return channels.length > 0
      ? { first: Math.min(...channels), last: Math.max(...channels) }
      : { first: body.channels.min, last: body.channels.max };
  });
  const bins = Array.isArray(answer.frequencies_list) ? answer.frequencies_list : [];
  const range = body.frequencyRange ? [body.frequencyRange.min, body.frequencyRange.max] : null;
  return {
    id: answer.job_id,
    streams,
    stepMs,
    lines: body.displayInfo.height,
    frequencies: bins.length > 1 ? [bins[0], bins[bins.length - 1]] : range,
  };
}

/** Until when the range is recorded, in epoch milliseconds; the range's end if that cannot be told. */
async function recordedUntil({ start_time: start, end_time: end }, signal) {
  try {
    const { text } = await ask("recordings_in_time_range", { start_time: start, end_time: end }, signal);
    const answer = JSON.parse(text);
    const list = Array.isArray(answer) ? answer : answer.recordings;
    const ends = list.map(([, to]) => (to < 0 ? end : Math.min(to, end)));
    return (ends.length > 0 ? ends.reduce((a, b) => Math.max(a, b)) : end) * 1000;
  } catch {
    return end * 1000;
  }
}

async function ask(path, body, signal) {
  const patience = AbortSignal.timeout(CONFIGURE_PATIENCE_S * 1000);
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.any([signal, patience]),
    });
    return { status: response.status, text: await response.text() };
  } catch {
    throw failure(patience.aborted ? problems.timedOut(CONFIGURE_PATIENCE_S) : problems.unreachable());
  }
}

function failure(problem) {
  return Object.assign(new Error(problem.title), { problem });
}
