// What the examples in the folders beside this file share: options, a deadline, and one line of JSON as the result. By
// hand, at a node and a worker with their default ports: `cd node && npm install && node polkadot-js.mjs`.
import { createPublicKey, publicEncrypt, constants } from 'node:crypto';
import { parseArgs } from 'node:util';

/** Runs an example with its options and prints what it returns; anything unexpected ends it with exit code 1. */
export async function run(defaults, example) {
  const deadline = { type: 'string', default: '200' };
  const strings = Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }]);
  const { values } = parseArgs({ options: { ...Object.fromEntries(strings), deadline } });
  setTimeout(() => fail(new Error(`not done after ${values.deadline} s`)), 1000 * Number(values.deadline));
  try {
    const seen = await example(values);
    // Connections may still be open; nobody waits for them.
    process.stdout.write(`${JSON.stringify(seen, (_, value) => plain(value))}\n`, () => process.exit(0));
  } catch (error) {
    fail(error);
  }
}

/** Ends the example. */
export function fail(error) {
  console.error(error);
  process.exit(1);
}

/** Fails unless `condition` holds. */
export function expect(condition, what) {
  if (!condition) throw new Error(`expected: ${what}`);
}

/** Looks again and again, once a second, until `look` gives something. */
export async function eventually(look) {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/**
 * Encrypts an account (32 bytes) to a shard, whose RSA modulus (384 bytes, big endian) layer one records: only the
 * shard's enclave learns whom shielded money is for.
 */
export function encryptAccount(modulus, account) {
  const jwk = { kty: 'RSA', n: Buffer.from(modulus).toString('base64url'), e: 'AQAB' };
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, Buffer.from(account));
}

const plain = (value) => (typeof value === 'bigint' ? value.toString() : value);
