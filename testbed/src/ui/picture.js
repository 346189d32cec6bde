// The picture: one line of pixels per time line, the streams' blocks side by side, time running down.
//
// A row is drawn when it comes: its values are pooled to one peak per pixel column, because a column often covers many
// frequencies and a signal in one of them must stay visible. The peaks are kept as the float16 bits that came, so that a
// change of colours needs no new data. Showing the drawn lines on the canvas happens once per frame.

import { COLORMAPS } from "./colormap.js";
import { FLOAT16 } from "./row.js";

/** Lines kept for the picture: more than any screen shows. */
const MAX_LINES = 2_000;
const HOLE = 0xffff;
/** The picture is shown at most 20 times a second, so that a fast playback has the processor for its rows. */
const FRAME_MS = 50;
/** Around the plot, in CSS pixels: times to the left, channels below. */
const MARGIN = { left: 92, right: 14, top: 8, bottom: 44 };
/** Between the blocks of two streams, in device pixels. */
const GAP = 3;
const NICE_STEPS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000];
const TIME_STEPS_MS = [
  10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5,
];

/**
 * @typedef {object} Layout
 * @property {{first: number, last: number}[]} streams channels of each stream's block
 * @property {[number, number] | null} frequencies lowest and highest shown, in Hz
 * @property {number} lines height of the picture
 * @property {number} stepMs time between lines
 */

export class Picture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{colours: () => {ground: string, text: string, quiet: string, hole: string}}} look
   */
  constructor(canvas, look) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.look = look;
    this.colormap = "parula";
    this.scale = "linear";
    this.layout = null;
    this.extrema = null;
    this.marks = [];
    this.selection = null;
    this.buffer = document.createElement("canvas");
    this.requested = false;
    this.presentedAt = 0;
    this.resize();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.request());
  }

  /** Begins a job's picture: from nothing, or below what is there. */
  begin(layout, { keep }) {
    const goesOn =
      keep &&
      this.layout !== null &&
      this.layout.stepMs === layout.stepMs &&
      this.layout.lines === layout.lines;
    this.layout = layout;
    if (goesOn) {
      if (this.newest !== null) this.marks.push(this.newest + 1);
    } else {
      this.allocate();
    }
    this.place();
    this.request();
  }

  /** The layout's streams have other channels from the next line on; all of them within a few lines. */
  follow() {
    const mark = this.newest + 1;
    if (mark - (this.marks.at(-1) ?? -Infinity) > this.blocks.length) this.marks.push(mark);
    this.place();
    this.request();
  }

  setColormap(name) {
    this.colormap = name;
    this.repaint();
  }

  setScale(name) {
    this.scale = name;
    this.repaint();
  }

  /** Draws a row of a stream. @param {import("./row.js").Row} row */
  draw(stream, row) {
    const block = this.blocks[stream];
    if (!block) return;
    this.extrema = [row.minimum, row.maximum];
    const lines = Math.max(row.shapeY, 1);
    for (let line = 0; line < lines; line += 1) {
      const time = row.times[Math.min(line, row.times.length - 1)];
      const number = this.lineOf(time);
      if (number === null) continue;
      const slot = modulo(number, this.height);
      pool(
        row.data,
        line,
        lines,
        this.peaks.subarray(slot * this.width + block.from, slot * this.width + block.to),
      );
      this.ranges[(slot * this.blocks.length + stream) * 2] = row.minimum;
      this.ranges[(slot * this.blocks.length + stream) * 2 + 1] = row.maximum;
      this.paint(slot, block, row.minimum, row.maximum);
      this.dirty.add(slot);
    }
    this.request();
  }

  /** Channel (fractional), frequency and time under a point of the canvas; null outside the plot. */
  at(x, y) {
    if (!this.layout || !this.peaks) return null;
    const plot = this.plot();
    const column = (x - plot.x) * this.ratio;
    const block = this.blocks.find((one) => column >= one.from && column < one.to + GAP);
    if (!block || y < plot.y || y > plot.y + plot.height) return null;
    const place = Math.min(Math.max((column - block.from) / (block.to - block.from), 0), 1 - 1e-9);
    const channel = block.first + place * (block.last - block.first + 1);
    const [low, high] = this.layout.frequencies ?? [0, 0];
    const line = this.firstVisible() + Math.floor(((y - plot.y) / plot.height) * this.height);
    const known = this.newest !== null && line <= this.newest;
    return {
      channel: Math.floor(channel),
      frequency: this.layout.frequencies ? low + (channel % 1) * (high - low) : null,
      time: known ? this.origin + line * this.layout.stepMs : null,
      // Above the last mark, other channels were shown than the axis says.
      past: line < (this.marks.at(-1) ?? -Infinity),
    };
  }

  /** Marks a region that is being dragged, from one x to another; null for none. */
  select(selection) {
    this.selection = selection;
    this.request();
  }

  plot() {
    const { width, height } = this.canvas;
    return {
      x: MARGIN.left,
      y: MARGIN.top,
      width: width / this.ratio - MARGIN.left - MARGIN.right,
      height: height / this.ratio - MARGIN.top - MARGIN.bottom,
    };
  }

  // The number of a time's line, its place in the ring made free; null if it has scrolled away.
  lineOf(time) {
    this.origin ??= time;
    const number = Math.round((time - this.origin) / this.layout.stepMs);
    if (this.newest === null) {
      this.newest = number;
      this.oldest = number;
    }
    if (number > this.newest) {
      const from = Math.max(this.newest + 1, number - this.height + 1);
      for (let line = from; line <= number; line += 1) this.erase(modulo(line, this.height));
      this.newest = number;
      this.marks = this.marks.filter((mark) => mark > number - this.height);
    } else if (number <= this.newest - this.height) {
      return null;
    }
    this.oldest = Math.max(Math.min(this.oldest, number), this.newest - this.height + 1);
    return number;
  }

  erase(slot) {
    this.peaks.fill(HOLE, slot * this.width, (slot + 1) * this.width);
    this.pixels.fill(0, slot * this.width, (slot + 1) * this.width);
    this.dirty.add(slot);
  }

  firstVisible() {
    return this.newest === null ? 0 : Math.max(this.oldest, this.newest - this.height + 1);
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(Math.round(box.width * this.ratio), 1);
    const height = Math.max(Math.round(box.height * this.ratio), 1);
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    if (this.layout) this.stretch();
    this.present();
  }

  allocate() {
    this.width = Math.max(Math.round(this.plot().width * this.ratio), this.layout.streams.length * (GAP + 1));
    this.height = Math.min(this.layout.lines, MAX_LINES);
    this.origin = null;
    this.newest = null;
    this.oldest = null;
    this.marks = [];
    this.extrema = null;
    this.store(new Uint16Array(this.width * this.height).fill(HOLE));
    this.ranges = new Float32Array(this.height * this.layout.streams.length * 2);
  }

  store(peaks) {
    this.peaks = peaks;
    this.buffer.width = this.width;
    this.buffer.height = this.height;
    this.image = new ImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.dirty = new Set(Array(this.height).keys());
  }

  // The canvas has another size: what was drawn is stretched, new rows are drawn as wide as it is now.
  stretch() {
    const [before, old] = [this.width, this.peaks];
    this.width = Math.max(Math.round(this.plot().width * this.ratio), this.layout.streams.length * (GAP + 1));
    const peaks = new Uint16Array(this.width * this.height);
    for (let line = 0; line < this.height; line += 1) {
      for (let x = 0; x < this.width; x += 1) {
        peaks[line * this.width + x] = old[line * before + Math.floor((x * before) / this.width)];
      }
    }
    this.store(peaks);
    this.place();
    this.repaint();
  }

  // Where each stream's block is, as wide as its share of the channels.
  place() {
    const { streams } = this.layout;
    const channels = streams.reduce((sum, one) => sum + one.last - one.first + 1, 0);
    const usable = this.width - GAP * (streams.length - 1);
    let before = 0;
    this.blocks = streams.map(({ first, last }, index) => {
      const from = Math.round((before / channels) * usable) + GAP * index;
      before += last - first + 1;
      const to = Math.max(Math.round((before / channels) * usable) + GAP * index, from + 1);
      return { first, last, from, to };
    });
    if (this.ranges.length !== this.height * streams.length * 2) {
      const [minimum, maximum] = this.extrema ?? [this.ranges[0], this.ranges[1]];
      this.ranges = Float32Array.from({ length: this.height * streams.length * 2 }, (_, index) =>
        index % 2 ? maximum : minimum,
      );
    }
  }

  repaint() {
    if (!this.peaks) return;
    for (let slot = 0; slot < this.height; slot += 1) {
      this.blocks.forEach((block, stream) => {
        const range = (slot * this.blocks.length + stream) * 2;
        this.paint(slot, block, this.ranges[range], this.ranges[range + 1]);
      });
      this.dirty.add(slot);
    }
    this.request();
  }

  // Peaks to colours: clamp((d - min) / (max - min)), or the same of logarithms.
  paint(slot, block, minimum, maximum) {
    const colours = COLORMAPS[this.colormap];
    const start = slot * this.width;
    const logarithmic = this.scale === "logarithmic";
    const floor = logarithmic ? Math.log(minimum > 0 ? minimum : maximum / 4096) : minimum;
    const span = (logarithmic ? Math.log(maximum) : maximum) - floor;
    const factor = span > 0 ? 255 / span : 0;
    for (let x = start + block.from; x < start + block.to; x += 1) {
      const bits = this.peaks[x];
      if (bits === HOLE) {
        this.pixels[x] = 0;
        continue;
      }
      const value = FLOAT16[bits];
      const level = ((logarithmic ? Math.log(value) : value) - floor) * factor;
      this.pixels[x] = colours[level > 0 ? (level < 255 ? level | 0 : 255) : 0];
    }
  }

  request() {
    if (this.requested) return;
    this.requested = true;
    const wait = FRAME_MS - (performance.now() - this.presentedAt);
    setTimeout(
      () =>
        requestAnimationFrame(() => {
          this.requested = false;
          this.present();
        }),
      Math.max(wait, 0),
    );
  }

  present() {
    this.presentedAt = performance.now();
    const { context, ratio } = this;
    const look = this.look.colours();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = look.ground;
    context.fillRect(0, 0, this.canvas.width / ratio, this.canvas.height / ratio);
    if (!this.layout) return;
    const plot = this.plot();
    if (plot.width <= 0 || plot.height <= 0) return;
    context.fillStyle = look.hole;
    context.fillRect(plot.x, plot.y, plot.width, plot.height);
    this.presentLines(plot);
    this.presentMarks(plot);
    this.presentTimes(plot, look);
    this.blocks.forEach((block, stream) => this.presentBlock(plot, block, stream, look));
    this.presentSelection(plot);
  }

  presentLines(plot) {
    const target = this.buffer.getContext("2d");
    for (const slot of this.dirty) target.putImageData(this.image, 0, 0, 0, slot, this.width, 1);
    this.dirty.clear();
    if (this.newest === null) return;
    // The ring in two parts: from the first visible line to the ring's end, then its beginning.
    const first = this.firstVisible();
    const count = this.newest - first + 1;
    const start = modulo(first, this.height);
    const upper = Math.min(count, this.height - start);
    const scale = plot.height / this.height;
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(
      this.buffer,
      0,
      start,
      this.width,
      upper,
      plot.x,
      plot.y,
      plot.width,
      upper * scale,
    );
    if (count > upper) {
      const y = plot.y + upper * scale;
      this.context.drawImage(
        this.buffer,
        0,
        0,
        this.width,
        count - upper,
        plot.x,
        y,
        plot.width,
        (count - upper) * scale,
      );
    }
  }

  // Where the channels changed while time went on.
  presentMarks(plot) {
    this.context.strokeStyle = "#ffffff";
    this.context.setLineDash([6, 4]);
    this.context.lineWidth = 1;
    for (const mark of this.marks) {
      const y = plot.y + ((mark - this.firstVisible()) / this.height) * plot.height;
      if (y <= plot.y || y >= plot.y + plot.height) continue;
      this.context.beginPath();
      this.context.moveTo(plot.x, y);
      this.context.lineTo(plot.x + plot.width, y);
      this.context.stroke();
    }
    this.context.setLineDash([]);
  }

  presentTimes(plot, look) {
    const { context } = this;
    context.font = '12px system-ui, "DejaVu Sans", sans-serif';
    context.fillStyle = look.quiet;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText("UTC", plot.x - 10, plot.y + plot.height + 12);
    if (this.newest === null) return;
    const { stepMs } = this.layout;
    const perPixel = (this.height * stepMs) / plot.height;
    const step = TIME_STEPS_MS.find((one) => one / perPixel >= 38) ?? 864e5;
    const begin = this.origin + this.firstVisible() * stepMs;
    const end = this.origin + this.newest * stepMs;
    for (let time = Math.ceil(begin / step) * step; time <= end; time += step) {
      const y = plot.y + (time - begin) / perPixel;
      const text = new Date(time).toISOString();
      const digits = step >= 1000 ? 19 : step >= 100 ? 21 : 23;
      context.fillText(text.slice(11, digits), plot.x - 10, Math.max(y, plot.y + 6));
      context.fillRect(plot.x - 6, Math.round(y), 6, 1);
    }
  }

  presentBlock(plot, block, stream, look) {
    const { context } = this;
    const x = plot.x + block.from / this.ratio;
    const width = (block.to - block.from) / this.ratio;
    const bottom = plot.y + plot.height;
    context.fillStyle = look.quiet;
    context.textBaseline = "middle";
    context.textAlign = "center";
    const one = block.first === block.last && this.layout.frequencies;
    for (const [place, label] of one
      ? frequencyTicks(this.layout.frequencies, width)
      : channelTicks(block, width)) {
      const at = Math.min(Math.max(x + place * width, x), x + width);
      context.fillRect(Math.round(at), bottom, 1, 5);
      const half = context.measureText(label).width / 2;
      if (at - half < x - 2 || at + half > x + width + 2) continue;
      context.fillText(label, at, bottom + 13);
    }
    context.fillStyle = look.text;
    const channels =
      block.first === block.last ? `channel ${block.first}` : `channels ${block.first}–${block.last}`;
    const [low, high] = this.layout.frequencies ?? [];
    const hertz = this.layout.frequencies
      ? `, ${Math.round(low)}–${Math.round(high)} Hz ${one ? "" : "each"}`
      : "";
    const texts = [
      `Stream ${stream}: ${channels}${hertz}`,
      `Stream ${stream}: ${channels}`,
      `${stream}: ${block.first}–${block.last}`,
      `${stream}`,
    ];
    const fitting = texts.find((text) => context.measureText(text).width <= width) ?? "";
    context.fillText(fitting, x + width / 2, bottom + 32);
  }

  presentSelection(plot) {
    if (!this.selection) return;
    const [from, to] = this.selection;
    this.context.fillStyle = "rgba(255, 255, 255, 0.25)";
    this.context.strokeStyle = "#ffffff";
    this.context.fillRect(from, plot.y, to - from, plot.height);
    this.context.strokeRect(from + 0.5, plot.y + 0.5, Math.max(to - from - 1, 1), plot.height - 1);
  }
}

// One peak per column. Float16 bits of positive values are ordered as the values are; negative ones count as zero.
function pool(bytes, line, lines, columns) {
  const values = Math.floor(bytes.byteLength / 2 / lines);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = columns.length;
  if (values === 0) {
    columns.fill(HOLE);
    return;
  }
  for (let column = 0; column < width; column += 1) {
    const from = Math.floor((column * values) / width);
    const to = Math.max(Math.floor(((column + 1) * values) / width), from + 1);
    let peak = 0;
    for (let x = from; x < to; x += 1) {
      const bits = view.getUint16((x * lines + line) * 2, true);
      if (bits < 0x7c00 && bits > peak) peak = bits;
    }
    columns[column] = peak;
  }
}

function channelTicks({ first, last }, width) {
  const count = last - first + 1;
  const step = NICE_STEPS.find((one) => (one / count) * width >= 34) ?? count;
  const ticks = [];
  for (let channel = Math.ceil(first / step) * step; channel <= last; channel += step) {
    ticks.push([(channel - first + 0.5) / count, String(channel)]);
  }
  return ticks;
}

function frequencyTicks([low, high], width) {
  const step = NICE_STEPS.find((one) => (one / (high - low)) * width >= 48) ?? high - low;
  const ticks = [];
  for (let hertz = Math.ceil(low / step) * step; hertz <= high; hertz += step) {
    ticks.push([(hertz - low) / (high - low), `${hertz} Hz`]);
  }
  return ticks;
}

function modulo(number, by) {
  return ((number % by) + by) % by;
}
