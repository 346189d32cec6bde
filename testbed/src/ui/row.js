// Reads an encoded `pandadatastream.DataStream`, and only that: ten fields and what protobuf allows around them.

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/**
 * @typedef {object} Row
 * @property {number} startChannel first channel of the stream's block
 * @property {number} endChannel last channel, inclusive
 * @property {number[]} times epoch milliseconds, one per time line
 * @property {number[]} indexes the job's line numbers, one per time line
 * @property {number} shapeX channels times frequency bins
 * @property {number} shapeY time lines in the message
 * @property {number} shapeZ an extra dimension, 1 if unset
 * @property {number} maximum running maximum over the job
 * @property {number} minimum running minimum
 * @property {Uint8Array} data `main_data`: float16, little-endian, C order (x, y)
 */

/**
 * @param {ArrayBuffer} buffer
 * @returns {Row}
 * @throws {RangeError} if the bytes are no such message
 */
export function decode(buffer) {
  const reader = new Reader(buffer);
  const row = {
    startChannel: 0,
    endChannel: 0,
    times: [],
    indexes: [],
    shapeX: 0,
    shapeY: 0,
    shapeZ: 1,
    maximum: 0,
    minimum: 0,
    data: null,
  };
  while (!reader.atEnd()) {
    const tag = reader.varint();
    field(row, Math.floor(tag / 8), tag % 8, reader);
  }
  if (row.times.length === 0 || row.indexes.length === 0) {
    throw new RangeError("a row has no time or no number");
  }
  row.data ??= new Uint8Array(0);
  return row;
}

function field(row, number, wire, reader) {
  switch (number * 8 + wire) {
    case 1 * 8 + VARINT:
      row.startChannel = reader.varint();
      return;
    case 2 * 8 + VARINT:
      row.endChannel = reader.varint();
      return;
    case 3 * 8 + VARINT:
      row.times.push(reader.varint());
      return;
    case 3 * 8 + BYTES:
      reader.packed(row.times);
      return;
    case 4 * 8 + VARINT:
      row.indexes.push(reader.varint());
      return;
    case 4 * 8 + BYTES:
      reader.packed(row.indexes);
      return;
    case 5 * 8 + VARINT:
      row.shapeX = reader.varint();
      return;
    case 6 * 8 + VARINT:
      row.shapeY = reader.varint();
      return;
    case 7 * 8 + FIXED32:
      row.maximum = reader.float();
      return;
    case 8 * 8 + FIXED32:
      row.minimum = reader.float();
      return;
    case 9 * 8 + BYTES: {
      // Repeated in the schema, one element in practice: the first is the row.
      const element = reader.bytes();
      row.data ??= element;
      return;
    }
    case 10 * 8 + VARINT:
      reader.varint();
      return;
    case 11 * 8 + VARINT:
      row.shapeZ = reader.varint();
      return;
    default:
      reader.skip(wire);
  }
}

class Reader {
  constructor(buffer) {
    this.buffer = buffer;
    this.view = new DataView(buffer);
    this.at = 0;
    this.end = buffer.byteLength;
  }

  atEnd() {
    return this.at >= this.end;
  }

  // At most ten bytes. Negative numbers come out negative; times fit a double exactly.
  varint() {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      if (shift < 28) low += (byte & 0x7f) * 2 ** shift;
      else high += (byte & 0x7f) * 2 ** (shift - 28);
      if (byte < 0x80) {
        const value = high * 2 ** 28 + low;
        return value >= 2 ** 63 ? Number(BigInt.asIntN(64, BigInt(high) * 2n ** 28n + BigInt(low))) : value;
      }
    }
    throw new RangeError("a number in a row has no end");
  }

  byte() {
    if (this.at >= this.end) throw new RangeError("a row ends in the middle of a field");
    const byte = this.view.getUint8(this.at);
    this.at += 1;
    return byte;
  }

  packed(into) {
    const length = this.varint();
    const end = this.at + length;
    if (!(end <= this.end)) throw new RangeError("a row ends in the middle of a list");
    while (this.at < end) into.push(this.varint());
  }

  float() {
    this.need(4);
    const value = this.view.getFloat32(this.at, true);
    this.at += 4;
    return value;
  }

  bytes() {
    const length = this.varint();
    this.need(length);
    const bytes = new Uint8Array(this.buffer, this.at, length);
    this.at += length;
    return bytes;
  }

  skip(wire) {
    if (wire === VARINT) this.varint();
    else if (wire === BYTES) this.bytes();
    else if (wire === FIXED64 || wire === FIXED32) {
      const length = wire === FIXED64 ? 8 : 4;
      this.need(length);
      this.at += length;
    } else throw new RangeError("a row has a field of an unknown kind");
  }

  need(length) {
    if (!(length >= 0 && this.at + length <= this.end)) {
      throw new RangeError("a row ends in the middle of a field");
    }
  }
}

/** Float16 bits to values, for all 65,536 of them: a row has thousands. */
export const FLOAT16 = Float32Array.from({ length: 65_536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});
