// What was drawn, and what was not: the rows with their digests, losses, duplicates and rates. No page, no network.

import { digest } from "./xxh3.js";

/** Rows kept, as a user's browser should not fill up over a day of live view. */
export const ROWS_KEPT = 20_000;
/** Line numbers remembered as missing, per stream: a swapped row comes right after. */
const MISSING_KEPT = 1_000;
/** Rates are those of the last seconds. */
const RATE_WINDOW_MS = 5_000;
const RATE_SLOTS = 25;
/** Sooner, a rate would be an accident. */
const LEAST_COVERED_MS = 400;

/** One stream's order of rows. */
class Order {
  constructor() {
    this.last = null;
    this.missing = new Set();
    this.lost = 0;
    this.duplicates = 0;
    this.reordered = 0;
  }

  see(index) {
    if (this.last === null || index === this.last + 1) {
      this.last = index;
    } else if (index > this.last) {
      this.lost += index - this.last - 1;
      for (let one = this.last + 1; one < index && this.missing.size < MISSING_KEPT; one += 1) {
        this.missing.add(one);
      }
      this.last = index;
    } else if (this.missing.delete(index)) {
      this.lost -= 1;
      this.reordered += 1;
    } else {
      this.duplicates += 1;
    }
  }
}

/** Counts events in a sliding window of slots. */
class Rate {
  constructor() {
    this.slots = new Uint32Array(RATE_SLOTS);
    this.slotMs = RATE_WINDOW_MS / RATE_SLOTS;
    this.first = null;
    this.slot = 0;
  }

  count(now) {
    // From the first row on: waiting for it is no low rate.
    this.first ??= now;
    this.advance(now);
    this.slots[this.slot % RATE_SLOTS] += 1;
  }

  perSecond(now) {
    if (this.first === null) return null;
    this.advance(now);
    const covered = Math.min(now - this.first, RATE_WINDOW_MS - this.slotMs / 2);
    const sum = this.slots.reduce((total, count) => total + count, 0);
    return covered >= LEAST_COVERED_MS ? (sum * 1000) / covered : null;
  }

  advance(now) {
    const slot = Math.floor(now / this.slotMs);
    for (let left = Math.min(slot - this.slot, RATE_SLOTS); left > 0; left -= 1) {
      this.slots[(slot - left + 1) % RATE_SLOTS] = 0;
    }
    this.slot = Math.max(this.slot, slot);
  }
}

export class Tally {
  /** @param {Array<object>} rows where rows are kept; emptied and filled here, never replaced, so that others may hold it */
  constructor(rows) {
    this.rows = rows;
    this.begin(0);
  }

  /** Begins a job: nothing is drawn. */
  begin(streams) {
    this.rows.length = 0;
    this.drawn = 0;
    this.damaged = 0;
    this.orders = Array.from({ length: streams }, () => new Order());
    this.rate = new Rate();
  }

  /** Takes in a row that is drawn now. */
  add(stream, row, now) {
    const rows = this.rows;
    rows.push({ stream, key: row.times[0], row: row.indexes[0], digest: digest(row.data) });
    // In steps, because each removal moves the rest.
    if (rows.length >= ROWS_KEPT + 1_000) rows.splice(0, rows.length - ROWS_KEPT);
    for (const index of row.indexes) this.orders[stream].see(index);
    this.drawn += 1;
    if (row.data.length !== row.shapeX * row.shapeY * row.shapeZ * 2) this.damaged += 1;
    this.rate.count(now);
  }

  /** Lost, duplicate and reordered rows of all streams. */
  losses() {
    const sum = { lost: 0, duplicates: 0, reordered: 0 };
    for (const order of this.orders) {
      sum.lost += order.lost;
      sum.duplicates += order.duplicates;
      sum.reordered += order.reordered;
    }
    return sum;
  }

  /** Rows per second and stream, over the last seconds; null too early to tell. */
  ratePerStream(now) {
    const rate = this.rate.perSecond(now);
    return rate === null ? null : rate / this.orders.length;
  }

  /** The rows kept, trimmed to their limit. */
  kept() {
    if (this.rows.length > ROWS_KEPT) this.rows.splice(0, this.rows.length - ROWS_KEPT);
    return this.rows;
  }

  /** XXH3-64 over `KEY DIGEST\n` of every kept row: by stream, then key, then order of drawing. */
  combined() {
    const rows = this.kept();
    const sorted = rows.slice().sort((a, b) => a.stream - b.stream || a.key - b.key);
    const text = sorted.map((row) => `${row.key} ${row.digest}\n`).join("");
    return digest(new TextEncoder().encode(text));
  }
}
