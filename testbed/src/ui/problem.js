// What went wrong, in plain words: from HTTP answers and ends of streams to a code, a title and what to do.

import { NAMES, showTime } from "./fields.js";

/**
 * @typedef {object} Problem
 * @property {string} code stable, for tests: see the testbed's README
 * @property {string} title one sentence
 * @property {string} detail what to do about it
 * @property {boolean} retry whether trying the same again may help
 * @property {{field: string, text: string}[]} [fields] what is wrong with which field
 */

/** Keys of the server's requests, longest first, and the fields that a user sees instead. */
const KEYS = [
  ["displayTimeAxisDuration", "duration"],
  ["frequencyRange.min", "frequency-from"],
  ["frequencyRange.max", "frequency-to"],
  ["displayInfo.height", "lines"],
  ["nfftSelection", "nfft"],
  ["channels.min", "channels-from"],
  ["channels.max", "channels-to"],
  ["start_time", "start-time"],
  ["end_time", "end-time"],
  ["view_type", "view"],
];
/** No sentence of a server that is longer is for people. */
const LONGEST_SAID = 240;

const problem = (code, title, detail, retry = true) => ({ code, title, detail, retry });

/** The request never got an answer. */
export function unreachable() {
  return problem(
    "server_unavailable",
    "The server cannot be reached.",
    "Check that it is running and that your network is up, then retry.",
  );
}

/** It took too long. */
export function timedOut(seconds) {
  return problem(
    "timeout",
    `The server did not answer within ${seconds} s.`,
    "It may be busy. Wait a moment, then retry.",
  );
}

/** The answer is 200 and yet no job. */
export function senseless(what) {
  return problem(
    "server_error",
    "The server's answer makes no sense.",
    `${what} Retry, or tell whoever runs the server.`,
  );
}

/**
 * An answer to configure that is not 200.
 * @param {number} status
 * @param {string} text the body
 * @param {object} body the request's
 * @returns {Problem}
 */
export function refused(status, text, body) {
  const answer = parse(text);
  const said = message(answer);
  if (body.start_time !== null && (status === 404 || (status === 400 && /no recording/i.test(said)))) {
    const range = `between ${showTime(body.start_time)} and ${showTime(body.end_time)}`;
    return problem("no_recordings", `There are no recordings ${range}.`, "Choose another range.", false);
  }
  if (status === 422 || status === 400) return invalid(answer, said);
  if (status === 503) return unavailable(said);
  if (status === 502 || status === 504) {
    return problem(
      "server_error",
      `The server is overloaded or restarting (${status}).`,
      "Wait a moment, then retry.",
    );
  }
  if (/already allocated|port/i.test(said) && (status === 409 || status === 500)) {
    return problem(
      "server_error",
      "The server could not get a free port for this view.",
      "Another job still holds it. Wait a moment, then retry.",
    );
  }
  return problem("server_error", `The server failed to start the view (${status}).`, advice(said));
}

/**
 * A stream that ended before it should.
 * @param {{status: string, message: string}} end
 * @param {{stream: number, opened: boolean, jobId: string}} of
 */
export function streamFailed(end, of) {
  const stream = `Stream ${of.stream}`;
  if (!of.opened && end.status === "DEADLINE_EXCEEDED") {
    return problem(
      "timeout",
      "The view did not come up within 30 s.",
      `Job ${of.jobId} was accepted, but its streams do not answer. Retry, or tell whoever runs the server.`,
    );
  }
  if (end.status === "NOT_FOUND") {
    return problem(
      "stream_failed",
      `The server has ended this view (job ${of.jobId}).`,
      "Retry to start it again.",
    );
  }
  if (end.status === "RESOURCE_EXHAUSTED" && !of.opened) {
    return problem(
      "no_slot",
      "The server shows as many streams as it can.",
      "Close another view, then retry.",
    );
  }
  // What a library says when a connection breaks, in whichever layer it notices.
  const broke = ["UNAVAILABLE", "UNKNOWN", "INTERNAL", "CANCELLED"].includes(end.status);
  const why = broke ? "the connection to the job broke" : end.status.toLowerCase().replaceAll("_", " ");
  return problem("stream_failed", `${stream} failed: ${why}.`, advice(end.message));
}

/** A row that is no row. */
export function unreadable(stream, why) {
  return problem("stream_failed", `Stream ${stream} sent a row that cannot be read.`, advice(why));
}

/** Rows of other channels than the answer to configure promised. */
export function foreign(stream, sent, promised) {
  return problem(
    "stream_failed",
    `Stream ${stream} sends other channels than asked for: ${sent}, not ${promised}.`,
    "It may be another job's data. Retry to start the view again.",
  );
}

/** A stream that ended by itself, too early. */
export function endedEarly(stream, left) {
  return problem(
    "stream_ended_early",
    `Stream ${stream} ended ${left}.`,
    "Some data is not shown. Retry to see it.",
  );
}

/** A stream without rows. */
export function silent(stream, seconds, tries) {
  // In steps later on: it is read aloud each time it changes.
  const shown = seconds < 10 ? seconds : seconds - (seconds % 5);
  return problem(
    "stream_silent",
    `No data for ${shown} s on stream ${stream}.`,
    tries === 0 ? "Waiting for the next row…" : `Trying again (${tries})…`,
  );
}

function invalid(answer, said) {
  const fields = [];
  if (Array.isArray(answer?.detail)) {
    for (const one of answer.detail) {
      const key = (Array.isArray(one.loc) ? one.loc : []).filter((part) => part !== "body").join(".");
      const field = KEYS.find(([name]) => name === key)?.[1] ?? null;
      const text = String(one.msg ?? "is not valid")
        .replace(/^Input should be/, "must be")
        .replace(/^Field required$/, "is missing");
      fields.push({ field, text: `${field ? NAMES[field] : key || "The request"} ${inWords(text)}.` });
    }
  } else if (said) {
    const found = KEYS.filter(([key]) => said.includes(key)).sort(
      (a, b) => said.indexOf(a[0]) - said.indexOf(b[0]),
    );
    fields.push({ field: found[0]?.[1] ?? null, text: `${capital(inWords(said)).replace(/\.$/, "")}.` });
  }
  return {
    ...problem(
      "invalid_input",
      "The server does not accept these settings.",
      fields.map((one) => one.text).join(" ") || "Change them and start again.",
      false,
    ),
    fields: fields.filter((one) => one.field !== null),
  };
}

function unavailable(said) {
  if (/fib(er|re)/i.test(said)) {
    return problem(
      "waiting_for_fiber",
      "The server is still waiting for the fibre.",
      "Live data starts when the fibre's recorder reports. Retry in a moment, or look at recordings.",
    );
  }
  if (/mongo|database/i.test(said)) {
    return problem(
      "mongodb_unavailable",
      "The server cannot reach its database (MongoDB).",
      "Wait until it is back, then retry. Tell whoever runs the server if it stays so.",
    );
  }
  if (/rabbit|amqp|broker|queue/i.test(said)) {
    return problem(
      "broker_unavailable",
      "The server cannot reach its message broker (RabbitMQ).",
      "Wait until it is back, then retry. Tell whoever runs the server if it stays so.",
    );
  }
  if (/slot|jobs|limit|gpu/i.test(said)) {
    return problem(
      "no_slot",
      "The server runs as many views as it can.",
      "Close another view, or wait, then retry.",
    );
  }
  return problem("server_unavailable", "The server is not ready (503).", "Wait a moment, then retry.");
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function message(answer) {
  const said = answer?.error ?? answer?.detail ?? "";
  return typeof said === "string" ? said : "";
}

// Only a short sentence is shown: no trace, no connection string, no path.
function advice(said) {
  const text = String(said ?? "").trim();
  const fit =
    text !== "" &&
    text.length <= LONGEST_SAID &&
    !/[\n\r]|traceback|exception|protocol|transport|h2 |:\/\/|NoneType|\bat 0x|\/\w+\/\w+/i.test(text);
  const shown = fit ? `The server says: “${text}”. ` : "";
  return `${shown}Retry, or tell whoever runs the server if it stays so.`;
}

function inWords(text) {
  return KEYS.reduce((words, [key, field]) => words.replaceAll(key, NAMES[field]), text)
    .replaceAll("frequencyRange", "Frequency")
    .replaceAll("channels ", "Channels ");
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
