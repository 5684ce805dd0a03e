// Numbers that look random and are the same for the same seed.
import { bytesToHex, keccak256, stringToHex } from "viem";

/** sfc32, seeded by a text. */
export const random = (seed) => {
  const hash = keccak256(stringToHex(seed));
  let [a, b, c, d] = [0, 1, 2, 3].map((i) => Number(`0x${hash.slice(2 + 8 * i, 10 + 8 * i)}`) | 0);
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t | 0;
    return t >>> 0;
  };
  const below = (n) => next() % n;
  return {
    below,
    pick: (items) => items[below(items.length)],
    hex: (size) => bytesToHex(Uint8Array.from({ length: size }, () => below(256))),
  };
};
