// Colours for values from 0 to 1, as tables of 256 packed pixels.

// Control points, evenly spaced; between them, colours are mixed.
const POINTS = {
  parula: [
    "352a87",
    "353eaf",
    "1b55d7",
    "026ae1",
    "0f77db",
    "1484d4",
    "0d93d2",
    "06a0cd",
    "07aac1",
    "18b1b2",
    "33b8a1",
    "55bd8e",
    "7abf7c",
    "9bbf6f",
    "b8bd63",
    "d3bb58",
    "ecb94c",
    "ffc13a",
    "fad12b",
    "f5e21e",
    "f9fb0e",
  ],
  grayscale: ["000000", "ffffff"],
  jet: ["000080", "0000ff", "0080ff", "00ffff", "80ff80", "ffff00", "ff8000", "ff0000", "800000"],
};

/** @type {Record<string, Uint32Array>} pixels as an ImageData's buffer holds them on a little-endian machine: ABGR */
export const COLORMAPS = Object.fromEntries(
  Object.entries(POINTS).map(([name, points]) => [name, table(points)]),
);

function table(points) {
  const colours = points.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (colours.length - 1);
    const index = Math.min(Math.floor(place), colours.length - 2);
    const share = place - index;
    const [red, green, blue] = colours[index].map((from, part) =>
      Math.round(from + (colours[index + 1][part] - from) * share),
    );
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}
