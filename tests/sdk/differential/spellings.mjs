// What strangers write where a number, an address, a hash, a text or an object belongs. Each: class, and what becomes of the good value.
export const ABSENT = Symbol("absent");

const spelling = (kind, ...pairs) => pairs.map(([title, write]) => ({ class: kind, title, write }));
const always = (value) => () => value;
const upper = (text) => `0x${text.slice(2).toUpperCase()}`;

const NEVER = [["absent", always(ABSENT)], ["null", always(null)], ["an object", always({})], ["true", always(true)]];

export const NUMBERS = [
  ...spelling("a number in JSON", ["as JSON number", (text) => Number(text)]),
  ...spelling(
    "a number spelled otherwise",
    ["in hex", (text) => `0x${BigInt(text).toString(16)}`], ["in binary", (text) => `0b${BigInt(text).toString(2)}`], ["with spaces", (text) => ` ${text} `],
    ["with a plus", (text) => `+${text}`], ["with zeros before", (text) => `00${text}`], ["in a list", (text) => [text]],
  ),
  ...spelling(
    "no number",
    ...NEVER, ["empty", always("")], ["a list", always([])], ["a fraction", (text) => `${text}.5`], ["with an exponent", always("1e4")], ["with a minus", (text) => `-${text}`],
    ["in other digits", always("١٠٠٠٠")], ["not a number", always("NaN")], ["as a BigInt literal", (text) => `${text}n`], ["with separators", always("10_000")],
    ["beyond 256 bits", always(String(2n ** 256n))], ["endless", always("9".repeat(2000))],
  ),
];

export const ADDRESSES = [
  ...spelling("an address in other case", ["lower case", (text) => text.toLowerCase()], ["upper case", upper]),
  ...spelling("an address with a wrong checksum", ["wrong checksum", (text) => text.replace(/[a-fA-F]/, (digit) => (digit === digit.toLowerCase() ? digit.toUpperCase() : digit.toLowerCase()))]),
  ...spelling(
    "no address",
    ...NEVER, ["empty", always("")], ["prefix alone", always("0x")], ["without prefix", (text) => text.slice(2)], ["with a large X", (text) => `0X${text.slice(2)}`], ["a byte short", (text) => text.slice(0, -2)],
    ["a byte long", (text) => `${text}00`], ["no hex", (text) => `${text.slice(0, -1)}g`], ["with spaces", (text) => ` ${text} `], ["a name", always("vitalik.eth")], ["a list", (text) => [text]],
  ),
];

export const WORDS = [
  ...spelling("a word in upper case", ["upper case", upper]),
  ...spelling(
    "no word",
    ...NEVER, ["empty", always("")], ["prefix alone", always("0x")], ["without prefix", (text) => text.slice(2)], ["a byte short", (text) => text.slice(0, -2)], ["a byte long", (text) => `${text}00`],
    ["no hex", (text) => `${text.slice(0, -1)}g`], ["a number", always("7")],
  ),
];

export const SIGNATURES = [
  ...spelling("a signature in upper case", ["upper case", upper]),
  ...spelling("a signature with v of 0 or 1", ["v of 0 or 1", (text) => `${text.slice(0, -2)}0${parseInt(text.slice(-2), 16) - 27}`]),
  ...spelling("a signature with a high s", ["high s", (text) => {
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = (order - BigInt(`0x${text.slice(66, 130)}`)).toString(16).padStart(64, "0");
    return `${text.slice(0, 66)}${s}${text.slice(-2) === "1b" ? "1c" : "1b"}`;
  }]),
  ...spelling(
    "another signature",
    ["other v", (text) => `${text.slice(0, -2)}${text.slice(-2) === "1b" ? "1c" : "1b"}`], ["v of 29", (text) => `${text.slice(0, -2)}1d`], ["v of 35", (text) => `${text.slice(0, -2)}23`],
    ["zeros", always(`0x${"00".repeat(65)}`)], ["ones", always(`0x${"11".repeat(64)}1b`)], ["a bit flipped", (text) => `${text.slice(0, 20)}${(parseInt(text[20], 16) ^ 1).toString(16)}${text.slice(21)}`],
    ["r of zero", (text) => `0x${"00".repeat(32)}${text.slice(66)}`], ["s of zero", (text) => `${text.slice(0, 66)}${"00".repeat(32)}${text.slice(-2)}`],
    ["a byte long", (text) => `${text}00`], ["twice", (text) => `${text}${text.slice(2)}`],
    ["prefix alone", always("0x")], ["4,096 bytes", always(`0x${"11".repeat(4096)}`)],
  ),
  ...spelling(
    "a signature of 64 bytes",
    ["a byte short", (text) => text.slice(0, -2)],
    ["compact", (text) => `${text.slice(0, 66)}${(BigInt(`0x${text.slice(66, 130)}`) | (text.slice(-2) === "1c" ? 1n << 255n : 0n)).toString(16).padStart(64, "0")}`],
  ),
  ...spelling("a signature of more than 4,096 bytes", ["4,097 bytes", always(`0x${"11".repeat(4097)}`)]),
  ...spelling(
    "no signature",
    ...NEVER, ["empty", always("")], ["without prefix", (text) => text.slice(2)], ["half a byte", (text) => text.slice(0, -1)], ["no hex", (text) => `${text.slice(0, -1)}g`], ["a list", (text) => [text]],
  ),
  ...spelling("an ERC-6492 wrapper around nothing", ["suffix alone", always(`0x${"6492".repeat(16)}`)], ["suffix behind the signature", (text) => `${text}${"6492".repeat(16)}`]),
];

export const TEXTS = [
  ...spelling("another text", ["empty", always("")], ["in other case", (text) => (text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase())], ["with spaces", (text) => ` ${text} `], ["another", always("Another")], ["endless", always("a".repeat(5000))]),
  ...spelling("no text", ...NEVER, ["a number", always(2)], ["a list", (text) => [text]]),
];

export const OBJECTS = spelling("no object", ["absent", always(ABSENT)], ["null", always(null)], ["empty", always({})], ["a text", always("text")], ["a list", (value) => [value]], ["a number", always(1)]);
