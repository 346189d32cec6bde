// What a user may ask for, in plain words. No page: values in, a request or its problems out.

/** What the server's client allows; the channels' range comes from the server. */
export const LIMITS = {
  lowestChannel: 1,
  highestChannel: null,
  channels: 2222,
  frequency: 1000,
  nfft: { multi: [256, 2048], single: [128, 65_536] },
  duration: 86_400,
  lines: 20_000,
  linesPerSecond: 1_000,
  windows: 30,
};

/** Names of fields, as problems call them. */
export const NAMES = {
  view: "View",
  "start-time": "Start",
  "end-time": "End",
  "channels-from": "Channels from",
  "channels-to": "Channels to",
  "frequency-from": "Frequency from",
  "frequency-to": "Frequency to",
  nfft: "NFFT",
  duration: "Time axis",
  lines: "Lines",
  "roi-from": "Region from",
  "roi-to": "Region to",
};

const VIEW_TYPES = { live: 0, historic: 0, single: 1, waterfall: 2 };

/** The valid values of NFFT in a view. */
export function nfftChoices(view) {
  const [least, most] = view === "single" ? LIMITS.nfft.single : LIMITS.nfft.multi;
  const choices = [];
  for (let nfft = least; nfft <= most; nfft *= 2) choices.push(nfft);
  return choices;
}

/**
 * Reads a whole form.
 * @param {Record<string, string>} texts by field
 * @param {number} now epoch seconds
 * @returns {{problems: {field: string, text: string}[], request: object | null}}
 */
export function read(texts, now) {
  const problems = [];
  const reader = {
    problem: (field, text) => problems.push({ field, text }),
    number: (field) => wholeNumber(texts[field], field, problems),
  };
  const view = texts.view;
  if (!(view in VIEW_TYPES)) reader.problem("view", "Choose one of the views.");
  const channels = readChannels(texts, view, reader);
  const body = {
    view_type: VIEW_TYPES[view],
    displayInfo: { height: readLines(reader) },
    channels,
    start_time: null,
    end_time: null,
  };
  if (view === "waterfall") {
    body.nfftSelection = 1;
  } else {
    body.nfftSelection = readNfft(view, reader);
    body.frequencyRange = readFrequencies(reader);
    body.displayTimeAxisDuration = readDuration(body.displayInfo.height, reader);
  }
  if (view !== "live") readTimes(texts, view, body, now, reader);
  return { problems, request: problems.length === 0 ? { view, body } : null };
}

/** Reads the region of interest: channels within those of the server. */
export function readRegion(texts, view) {
  const problems = [];
  const reader = {
    problem: (field, text) => problems.push({ field, text }),
    number: (field) => wholeNumber(texts[field], field, problems),
  };
  const region = channelRange("roi-from", "roi-to", reader);
  if (problems.length === 0 && view === "single" && region.min !== region.max) {
    reader.problem("roi-to", "A single-channel view shows one channel: both must be the same.");
  }
  return { problems, region: problems.length === 0 ? region : null };
}

/** A time as epoch seconds: digits, or a date and time in UTC. Null if it is neither. */
export function parseTime(text) {
  const trimmed = text.trim();
  if (/^\d{1,11}$/.test(trimmed)) return Number(trimmed);
  const parts = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?Z?$/i.exec(trimmed);
  if (!parts) return null;
  const time = Date.parse(`${parts[1]}T${parts[2]}${parts[3] ?? ":00"}Z`);
  return Number.isNaN(time) ? null : time / 1000;
}

/** Epoch seconds as a user reads them. */
export function showTime(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function wholeNumber(text, field, problems) {
  const trimmed = (text ?? "").trim();
  if (/^[-+]?\d{1,15}$/.test(trimmed)) return Number(trimmed);
  const text_ = trimmed === "" ? "is missing: enter a whole number." : "must be a whole number.";
  problems.push({ field, text: `${NAMES[field]} ${text_}` });
  return null;
}

function readChannels(texts, view, reader) {
  if (view !== "single") return channelRange("channels-from", "channels-to", reader);
  const channel = reader.number("channels-from");
  if (channel !== null) inRange("channels-from", channel, reader);
  return { min: channel, max: channel };
}

function channelRange(fromField, toField, reader) {
  const min = reader.number(fromField);
  const max = reader.number(toField);
  const fromIsRight = min === null || inRange(fromField, min, reader);
  const toIsRight = max === null || inRange(toField, max, reader);
  if (min !== null && max !== null && fromIsRight && toIsRight) {
    if (max < min) {
      reader.problem(
        toField,
        `Channels are reversed: the last (${max}) must not be below the first (${min}).`,
      );
    } else if (max - min + 1 > LIMITS.channels) {
      reader.problem(toField, `At most ${LIMITS.channels} channels can be shown, not ${max - min + 1}.`);
    }
  }
  return { min, max };
}

function inRange(field, channel, reader) {
  const { lowestChannel, highestChannel } = LIMITS;
  if (channel < lowestChannel) {
    reader.problem(field, `${NAMES[field]} must be at least ${lowestChannel}.`);
    return false;
  }
  if (highestChannel !== null && channel > highestChannel) {
    reader.problem(
      field,
      `${NAMES[field]} must be at most ${highestChannel}, the last channel of this fibre.`,
    );
    return false;
  }
  return true;
}

function readFrequencies(reader) {
  const min = reader.number("frequency-from");
  const max = reader.number("frequency-to");
  const wrong = (field, value) => {
    if (value === null) return true;
    if (value > LIMITS.frequency) {
      reader.problem(field, `Frequency must be at most ${LIMITS.frequency} Hz.`);
      return true;
    }
    if (value < 0) {
      reader.problem(field, "Frequency must be at least 0 Hz.");
      return true;
    }
    return false;
  };
  const [fromWrong, toWrong] = [wrong("frequency-from", min), wrong("frequency-to", max)];
  if (!fromWrong && !toWrong && max - min < 1) {
    reader.problem(
      "frequency-to",
      `The highest frequency (${max} Hz) must be at least 1 Hz above the lowest (${min} Hz).`,
    );
  }
  return { min, max };
}

function readNfft(view, reader) {
  const nfft = reader.number("nfft");
  const choices = nfftChoices(view);
  if (nfft !== null && !choices.includes(nfft)) {
    reader.problem("nfft", `NFFT must be a power of two: ${choices.join(", ")}.`);
  }
  return nfft;
}

function readLines(reader) {
  const lines = reader.number("lines");
  if (lines !== null && (lines < 1 || lines > LIMITS.lines)) {
    reader.problem("lines", `Lines must be from 1 to ${LIMITS.lines}.`);
  }
  return lines;
}

function readDuration(lines, reader) {
  const duration = reader.number("duration");
  if (duration === null) return null;
  if (duration < 1 || duration > LIMITS.duration) {
    reader.problem("duration", `Time axis must be from 1 to ${LIMITS.duration} seconds.`);
  } else if (lines !== null && lines > duration * LIMITS.linesPerSecond) {
    reader.problem(
      "lines",
      `Lines must be at most ${LIMITS.linesPerSecond} for each second of the time axis.`,
    );
  }
  return duration;
}

function readTimes(texts, view, body, now, reader) {
  const [start, end] = ["start-time", "end-time"].map((field) => (texts[field] ?? "").trim());
  if (start === "" && end === "" && view !== "historic") return;
  const [from, to] = [
    ["start-time", start],
    ["end-time", end],
  ].map(([field, text]) => {
    const time = parseTime(text);
    if (text === "") reader.problem(field, `${NAMES[field]} is missing: a recorded range needs both times.`);
    else if (time === null) {
      reader.problem(field, `${NAMES[field]} must be like 2023-11-14T22:15:00Z, or seconds since 1970.`);
    }
    return time;
  });
  if (from === null || to === null) return;
  body.start_time = from;
  body.end_time = to;
  const windows = LIMITS.windows * (body.displayTimeAxisDuration ?? 30);
  if (to <= from) reader.problem("end-time", "End must be after start.");
  else if (to > now + 1) reader.problem("end-time", "End lies in the future.");
  else if (to - from > windows) {
    reader.problem(
      "end-time",
      `The range may be at most ${LIMITS.windows} time axes, ${windows} s; it is ${to - from} s.`,
    );
  }
}
