/**
 * SHA-256 (FIPS 180-4), piece by piece. WebCrypto has neither pieces nor, on a page that was
 * served without TLS, any digest at all.
 */

const PRIMES = [2];
for (let n = 3; PRIMES.length < 64; n += 2) if (PRIMES.every((p) => n % p !== 0)) PRIMES.push(n);
const fraction = (x: number): number => ((x - Math.floor(x)) * 2 ** 32) | 0;
const ROUNDS = Int32Array.from(PRIMES, (p) => fraction(Math.cbrt(p)));
const BEGIN = Int32Array.from(PRIMES.slice(0, 8), (p) => fraction(Math.sqrt(p)));

const rotated = (x: number, by: number): number => (x >>> by) | (x << (32 - by));

/** A digest in the making: `update` with pieces in order, then `hex` once. */
export class Sha256 {
  readonly #state = BEGIN.slice();
  readonly #schedule = new Int32Array(64);
  readonly #block = new Uint8Array(64);
  #bytes = 0;

  /** Add a piece; returns itself. */
  update(piece: Uint8Array): this {
    const filled = this.#bytes % 64;
    this.#bytes += piece.length;
    let at = 0; // of what begins a block
    if (filled > 0) {
      at = 64 - filled;
      this.#block.set(piece.subarray(0, at), filled);
      if (piece.length < at) return this;
      this.#compress(this.#block, 0);
    }
    for (; at + 64 <= piece.length; at += 64) this.#compress(piece, at);
    this.#block.set(piece.subarray(at));
    return this;
  }

  /** The digest of all pieces: 64 lower-case hex digits. */
  hex(): string {
    const bits = this.#bytes * 8;
    // A bit that is set, zeros, and the number of bits, up to the end of a block.
    const end = new Uint8Array(72 - ((this.#bytes + 8) % 64));
    end[0] = 0x80;
    new DataView(end.buffer).setBigUint64(end.length - 8, BigInt(bits));
    this.update(end);
    return Array.from(this.#state, (x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#schedule;
    for (let i = 0, j = at; i < 16; i++, j += 4) {
      w[i] = (bytes[j]! << 24) | (bytes[j + 1]! << 16) | (bytes[j + 2]! << 8) | bytes[j + 3]!;
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!;
      const y = w[i - 2]!;
      const s0 = rotated(x, 7) ^ rotated(x, 18) ^ (x >>> 3);
      const s1 = rotated(y, 17) ^ rotated(y, 19) ^ (y >>> 10);
      w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    const state = this.#state;
    // Neither destructured nor looped over: this runs for every 64 bytes of a base.
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let i = 0; i < 64; i++) {
      const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i]! + w[i]!) | 0;
      const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
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
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
    state[4]! += e;
    state[5]! += f;
    state[6]! += g;
    state[7]! += h;
  }
}

/** The digest of `bytes`: 64 lower-case hex digits. */
export function sha256(bytes: Uint8Array): string {
  return new Sha256().update(bytes).hex();
}
