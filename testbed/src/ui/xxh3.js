// XXH3-64 with seed 0, as the manifest has it: the page's own proof of which bytes it drew.
//
// Short inputs are computed with BigInt. The loop over long ones, which is where the time goes, keeps each 64-bit
// accumulator as two 32-bit halves, because BigInt allocates. A test compares this with the Rust crate.

const MASK = 0xffffffffffffffffn;
const P32_1 = 0x9e3779b1;
const P32_2 = 0x85ebca77;
const P32_3 = 0xc2b2ae3d;
const P64_1 = 0x9e3779b185ebca87n;
const P64_2 = 0xc2b2ae3d27d4eb4fn;
const P64_3 = 0x165667b19e3779f9n;
const P64_4 = 0x85ebca77c2b2ae63n;
const P64_5 = 0x27d4eb2f165667c5n;
const MIX_1 = 0x165667919e3779f9n;
const MIX_2 = 0x9fb21c651e98df25n;

const STRIPE = 64;
const BLOCK = 1024;
const STRIPES_PER_BLOCK = 16;
const INVERSE_2_32 = 2 ** -32;

const SECRET_HEX =
  "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f" +
  "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c" +
  "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8" +
  "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364" +
  "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e" +
  "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e";
const SECRET = new DataView(Uint8Array.from(SECRET_HEX.match(/../g), (byte) => parseInt(byte, 16)).buffer);
// The secret in 32-bit words: stripe n uses words 2n to 2n + 15.
const SECRET_WORDS = Uint32Array.from({ length: 48 }, (_, word) => SECRET.getUint32(word * 4, true));
const LAST_STRIPE_WORDS = Uint32Array.from({ length: 16 }, (_, word) =>
  SECRET.getUint32(121 + word * 4, true),
);

/**
 * The digest of bytes, as 16 lowercase hex digits.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function digest(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return hash(view).toString(16).padStart(16, "0");
}

function hash(view) {
  const length = view.byteLength;
  if (length > 240) return long(view, length);
  if (length > 128) return middle(view, length);
  if (length > 16) return short(view, length);
  if (length > 8) return upTo16(view, length);
  if (length >= 4) return upTo8(view, length);
  if (length > 0) return upTo3(view, length);
  return avalanche64(word(SECRET, 56) ^ word(SECRET, 64));
}

function word(view, at) {
  return view.getBigUint64(at, true);
}

function fold(a, b) {
  const product = a * b;
  return (product & MASK) ^ (product >> 64n);
}

function mix16(view, at, secret) {
  return fold(word(view, at) ^ word(SECRET, secret), word(view, at + 8) ^ word(SECRET, secret + 8));
}

function avalanche(h) {
  h ^= h >> 37n;
  h = (h * MIX_1) & MASK;
  return h ^ (h >> 32n);
}

function avalanche64(h) {
  h ^= h >> 33n;
  h = (h * P64_2) & MASK;
  h ^= h >> 29n;
  h = (h * P64_3) & MASK;
  return h ^ (h >> 32n);
}

function rotate(h, by) {
  return ((h << by) | (h >> (64n - by))) & MASK;
}

function swap(h) {
  let swapped = 0n;
  for (let byte = 0; byte < 8; byte += 1) {
    swapped = (swapped << 8n) | (h & 0xffn);
    h >>= 8n;
  }
  return swapped;
}

function upTo3(view, length) {
  const [first, middle, last] = [0, length >> 1, length - 1].map((at) => view.getUint8(at));
  const combined = ((first << 16) | (middle << 24) | last | (length << 8)) >>> 0;
  const flip = (SECRET.getUint32(0, true) ^ SECRET.getUint32(4, true)) >>> 0;
  return avalanche64(BigInt(combined) ^ BigInt(flip));
}

function upTo8(view, length) {
  const low = BigInt(view.getUint32(length - 4, true));
  const high = BigInt(view.getUint32(0, true));
  let h = (low | (high << 32n)) ^ word(SECRET, 8) ^ word(SECRET, 16);
  h ^= rotate(h, 49n) ^ rotate(h, 24n);
  h = (h * MIX_2) & MASK;
  h ^= ((h >> 35n) + BigInt(length)) & MASK;
  h = (h * MIX_2) & MASK;
  return h ^ (h >> 28n);
}

function upTo16(view, length) {
  const low = word(view, 0) ^ word(SECRET, 24) ^ word(SECRET, 32);
  const high = word(view, length - 8) ^ word(SECRET, 40) ^ word(SECRET, 48);
  return avalanche((BigInt(length) + swap(low) + high + fold(low, high)) & MASK);
}

function short(view, length) {
  let acc = BigInt(length) * P64_1;
  for (let pair = (length - 1) >> 5; pair >= 0; pair -= 1) {
    acc += mix16(view, pair * 16, pair * 32);
    acc += mix16(view, length - (pair + 1) * 16, pair * 32 + 16);
  }
  return avalanche(acc & MASK);
}

function middle(view, length) {
  let acc = BigInt(length) * P64_1;
  for (let round = 0; round < 8; round += 1) acc += mix16(view, round * 16, round * 16);
  acc = avalanche(acc & MASK);
  for (let round = 8; round < length >> 4; round += 1) {
    acc += mix16(view, round * 16, (round - 8) * 16 + 3);
  }
  acc += mix16(view, length - 16, 119);
  return avalanche(acc & MASK);
}

// The halves of the eight accumulators, kept between calls: there is one caller at a time.
const low = new Uint32Array(8);
const high = new Uint32Array(8);
const START = [BigInt(P32_3), P64_1, P64_2, P64_3, P64_4, BigInt(P32_2), P64_5, BigInt(P32_1)];

function long(view, length) {
  START.forEach((start, lane) => {
    low[lane] = Number(start & 0xffffffffn);
    high[lane] = Number(start >> 32n);
  });
  const blocks = Math.floor((length - 1) / BLOCK);
  for (let block = 0; block < blocks; block += 1) {
    for (let stripe = 0; stripe < STRIPES_PER_BLOCK; stripe += 1) {
      accumulate(view, block * BLOCK + stripe * STRIPE, SECRET_WORDS, stripe * 2);
    }
    scramble();
  }
  const stripes = Math.floor((length - 1 - blocks * BLOCK) / STRIPE);
  for (let stripe = 0; stripe < stripes; stripe += 1) {
    accumulate(view, blocks * BLOCK + stripe * STRIPE, SECRET_WORDS, stripe * 2);
  }
  accumulate(view, length - STRIPE, LAST_STRIPE_WORDS, 0);
  return merge(length);
}

// Adds one stripe: each lane takes its neighbour's data, and the product of its own keyed halves.
function accumulate(view, at, secret, key) {
  for (let lane = 0; lane < 8; lane += 1) {
    const dataLow = view.getUint32(at + lane * 8, true);
    const dataHigh = view.getUint32(at + lane * 8 + 4, true);
    const a = (dataLow ^ secret[key + lane * 2]) >>> 0;
    const b = (dataHigh ^ secret[key + lane * 2 + 1]) >>> 0;
    const productLow = Math.imul(a, b) >>> 0;
    // `a * b` is off by at most 2^10, which is lost in the division: the sum of one half rounds to the exact upper half.
    const productHigh = Math.floor((a * b - productLow) * INVERSE_2_32 + 0.5);
    const neighbour = lane ^ 1;
    const sum = low[neighbour] + dataLow;
    low[neighbour] = sum;
    high[neighbour] = high[neighbour] + dataHigh + (sum > 0xffffffff ? 1 : 0);
    const own = low[lane] + productLow;
    low[lane] = own;
    high[lane] = high[lane] + productHigh + (own > 0xffffffff ? 1 : 0);
  }
}

// At the end of a block: xor-shift by 47, xor with the secret, times a 32-bit prime.
function scramble() {
  for (let lane = 0; lane < 8; lane += 1) {
    const keyedLow = (low[lane] ^ (high[lane] >>> 15) ^ SECRET_WORDS[32 + lane * 2]) >>> 0;
    const keyedHigh = (high[lane] ^ SECRET_WORDS[33 + lane * 2]) >>> 0;
    const productLow = Math.imul(keyedLow, P32_1) >>> 0;
    const carry = Math.floor((keyedLow * P32_1 - productLow) * INVERSE_2_32 + 0.5);
    low[lane] = productLow;
    high[lane] = carry + (Math.imul(keyedHigh, P32_1) >>> 0);
  }
}

function merge(length) {
  const lane = (index) => (BigInt(high[index]) << 32n) | BigInt(low[index]);
  let h = BigInt(length) * P64_1;
  for (let pair = 0; pair < 4; pair += 1) {
    h += fold(
      lane(pair * 2) ^ word(SECRET, 11 + pair * 16),
      lane(pair * 2 + 1) ^ word(SECRET, 19 + pair * 16),
    );
  }
  return avalanche(h & MASK);
}
