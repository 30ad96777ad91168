/** Searches the number for which SHA-256(salt + number) is the challenge. Pure.
 *
 *  It has its own SHA-256 for two reasons. The browser's is asynchronous, and that costs far more than hashing one block.
 *  On plain http, browsers have none. */

const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n += 1) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
const K = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const words = new Int32Array(64);
const hash = new Int32Array(8);

/** Write the SHA-256 of one block, the first 16 of `words`, into `hash` (FIPS 180-4). */
function digest() {
  for (let i = 16; i < 64; i += 1) {
    const x = words[i - 15];
    const y = words[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    words[i] = (words[i - 16] + s0 + words[i - 7] + s1) | 0;
  }
  hash.set(START);
  let a = hash[0]; // destructuring a typed array makes the search five times slower
  let b = hash[1];
  let c = hash[2];
  let d = hash[3];
  let e = hash[4];
  let f = hash[5];
  let g = hash[6];
  let h = hash[7];
  for (let i = 0; i < 64; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + words[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  hash[0] += a;
  hash[1] += b;
  hash[2] += c;
  hash[3] += d;
  hash[4] += e;
  hash[5] += f;
  hash[6] += g;
  hash[7] += h;
}

/** Return the first number in [from, until) that solves the challenge, or null. */
export function search({ salt, challenge }, from, until) {
  const target = challenge.match(/.{8}/g).map((word) => parseInt(word, 16) | 0);
  const bytes = new Uint8Array(64);
  for (let i = 0; i < salt.length; i += 1) bytes[i] = salt.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  const whole = salt.length >> 2; // leading words that contain only salt
  for (let number = from; number < until; number += 1) {
    const digits = String(number);
    const length = salt.length + digits.length;
    if (length > 55) throw new RangeError("More than one block.");
    bytes.fill(0, salt.length);
    for (let i = 0; i < digits.length; i += 1) bytes[salt.length + i] = digits.charCodeAt(i);
    bytes[length] = 0x80;
    view.setUint32(60, length * 8);
    for (let i = number === from ? 0 : whole; i < 16; i += 1) words[i] = view.getInt32(i * 4);
    digest();
    if (hash[0] === target[0] && hash.every((word, i) => word === target[i])) return number;
  }
  return null;
}
