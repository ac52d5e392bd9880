// What the examples in the folders beside this file share: options, a deadline, and one line of JSON as the result. By
// hand, at a node and a worker with their default ports, `cloister list-workers` names enclaves and shards:
// `cd node && npm install && node polkadot-js.mjs --shard SHARD --mrenclave MRENCLAVE`.
import { createPublicKey, publicEncrypt, constants } from 'node:crypto';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * Runs an example with its options and prints what it returns; anything unexpected ends it with exit code 1. An option
 * without a default must be named and is 32 bytes, which the example gets as hex.
 */
export async function run(defaults, example) {
  const options = named({ ...defaults, deadline: '200' });
  setTimeout(() => fail(new Error(`not done after ${options.deadline} s`)), 1000 * Number(options.deadline));
  try {
    const seen = await example(options);
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
 * Fails unless the shard is one to trust with money: its enclave runs the code that the caller named. Who bears a shard
 * chooses its keys, and anybody may bear one.
 */
export function expectCode(mrenclave, { allowed, registered, kind, mode }) {
  expect(allowed === mrenclave, `a shard of enclaves with fingerprint ${mrenclave}, not ${allowed}`);
  expect(registered === mrenclave, `an enclave registered with fingerprint ${mrenclave}, not ${registered}`);
  if (kind === 'Simulated') console.error('the enclave is simulated: nothing proves its fingerprint');
  else expect(mode === 'Production', 'an enclave whose operator cannot read its memory');
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

/** The options of the command line; it ends with exit code 2, before anything is sent, if one is missing or wrong. */
function named(defaults) {
  const names = Object.keys(defaults);
  try {
    const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
    const missing = names.filter((name) => (values[name] ?? defaults[name]) === undefined);
    if (missing.length > 0) throw new Error(`missing: ${missing.map((name) => `--${name}`).join(', ')}`);
    const read = (name) => (defaults[name] ? (values[name] ?? defaults[name]) : bytes32(name, values[name]));
    return Object.fromEntries(names.map((name) => [name, read(name)]));
  } catch (error) {
    console.error(`${error.message}\n\n${usage(defaults)}`);
    process.exit(2);
  }
}

function usage(defaults) {
  const entries = Object.entries(defaults);
  const needed = entries.filter(([, value]) => !value).map(([name]) => `--${name} ${name.toUpperCase()}`);
  const optional = entries.filter(([, value]) => value).map(([name, value]) => `[--${name} ${value}]`);
  const line = `usage: node ${basename(process.argv[1])} ${[...needed, ...optional].join(' ')}`;
  if (needed.length === 0) return line;
  return `${line}

SHARD is where the money goes, MRENCLAVE the fingerprint of the enclave code that you trust with it: 32 bytes each, in
base58 or as hex with 0x. \`cloister list-workers\` shows both; compare the fingerprint with that of your own build.`;
}

/** 32 bytes in base58 or as hex with 0x, as hex with 0x. */
function bytes32(name, text) {
  const number = /^0x[0-9a-f]{64}$/i.test(text) ? BigInt(text) : base58(text);
  const hex = number?.toString(16).padStart(64, '0');
  if (hex?.length !== 64) throw new Error(`--${name} is not 32 bytes in base58 or as hex with 0x: ${text}`);
  return `0x${hex}`;
}

/** The number that a text in base58 is; none if it is not one of 32 bytes. */
function base58(text) {
  const digits = [...text].map((digit) => BASE58.indexOf(digit));
  if (digits.length < 32 || digits.length > 44 || digits.includes(-1)) return undefined;
  return digits.reduce((number, digit) => 58n * number + BigInt(digit), 0n);
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

const plain = (value) => (typeof value === 'bigint' ? value.toString() : value);
