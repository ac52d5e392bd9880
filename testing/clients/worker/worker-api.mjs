// @encointer/worker-api (https://github.com/encointer/encointer-js) at a worker: shielding key, balance,
// nonce, transfer and unshield. TLS ends in the enclave; layer one, not a certificate authority, vouches for its key.
import { createHash, X509Certificate } from 'node:crypto';
import { Agent } from 'node:https';
import { connect } from 'node:tls';
import { IntegriteeWorker } from '@encointer/worker-api';
import { ApiPromise, WsProvider } from '@polkadot/api';
import { Keyring } from '@polkadot/keyring';
import { blake2AsHex } from '@polkadot/util-crypto';
import bs58 from 'bs58';
import websocket from 'websocket';
import { eventually, expect, expectCode, run } from '../script.mjs';

// Standard output is for the result.
console.log = () => {};

// Planck. //Alice must have twice as much on the shard. Shard and fingerprint must be named.
const named = { shard: undefined, mrenclave: undefined };
const defaults = { ...named, node: 'ws://127.0.0.1:9944', worker: 'wss://127.0.0.1:2000', amount: '3000000000000' };
const options = { timeout: 20_000 };

await run(defaults, async ({ shard: id, mrenclave: fingerprint, node, worker: url, amount }) => {
  // What layer one records of the shard: the only member it was born with, that enclave's code and TLS key.
  const layerOne = await ApiPromise.create({ provider: new WsProvider(node), noInitWarn: true });
  const publicBalance = async ({ address }) => (await layerOne.query.system.account(address)).data.free.toBigInt();
  const found = await layerOne.query.enclaveBridge.shards(id);
  expect(found.isSome, `a shard ${id} on layer one`);
  const { founder, config } = found.unwrap().birth;
  const registered = await layerOne.query.teerex.sovereignEnclaves(founder);
  expect(registered.isSome, 'a registration of the enclave that bore the shard');
  const record = registered.unwrap();
  expectCode(fingerprint, {
    allowed: config.enclaveFingerprint.toHex(),
    registered: record.fingerprint.toHex(),
    kind: record.kind.type,
    mode: record.buildMode.type,
  });
  const [shard, mrenclave] = [id, fingerprint].map((hex) => bs58.encode(Buffer.from(hex.slice(2), 'hex')));
  const tlsKeyHash = record.tlsKeyHash.toHex();

  const keyring = new Keyring({ type: 'sr25519' });
  const [alice, bob, eve] = ['//Alice', '//Bob', '//Eve'].map((uri) => keyring.addFromUri(uri));
  const worker = new IntegriteeWorker(url, { keyring, createWebSocket: pinned(tlsKeyHash) });
  const balance = async (account) => (await worker.getBalance(account, shard, options)).toBigInt();
  const nonce = async (account) => (await worker.getNonce(account, shard, options)).toNumber();
  const { modulusLength } = (await worker.getShieldingKey(options)).algorithm;

  // This client sends an RSA ciphertext as a number, without leading zero bytes: one of 256 is a byte shorter. Here the
  // first one is, and the second is not.
  const sent = [];
  const encrypt = worker.encrypt.bind(worker);
  worker.encrypt = async (operation) => {
    for (;;) {
      const cyphertext = await encrypt(operation);
      if (cyphertext.length !== 383 + sent.length) continue;
      sent.push({ hash: blake2AsHex(operation), bytes: cyphertext.length });
      return cyphertext;
    }
  };
  const balances = [await balance(alice)];
  const nonces = [await nonce(alice)];

  const had = await balance(bob);
  const transfer = [alice, shard, mrenclave, alice.address, bob.address, amount, options];
  const transferred = await worker.trustedBalanceTransfer(...transfer);
  expect(transferred.toHex() === sent[0].hash, `the operation's hash ${sent[0].hash}, not ${transferred}`);
  // This client watches no operation: it asks until the money is there.
  const received = await eventually(async () => (await balance(bob)) - had);

  const held = await publicBalance(eve);
  const unshield = [alice, shard, mrenclave, alice.address, eve.address, amount, options];
  const unshielded = await worker.balanceUnshieldFunds(...unshield);
  expect(unshielded.toHex() === sent[1].hash, `the operation's hash ${sent[1].hash}, not ${unshielded}`);
  const paid = await eventually(async () => (await publicBalance(eve)) - held);

  balances.push(await balance(alice));
  nonces.push(await nonce(alice));
  const refusal = await refused(worker.getShardVault({ timeout: 2_000 }));
  // The connection still answers.
  expect((await nonce(alice)) === nonces[1], 'the same nonce after a refusal');

  // Whoever shows another key than the registry's hears nothing.
  const other = new IntegriteeWorker(url, { keyring, createWebSocket: pinned(`0x${'00'.repeat(32)}`) });
  const impostor = await other.getShieldingKey(options).then(() => 'heard', (error) => error.message);

  return {
    shard: id,
    mrenclave: fingerprint,
    tlsKeyHash,
    modulusLength,
    operations: sent,
    balances,
    nonces,
    received,
    paid,
    refusal,
    impostor,
  };
});

/** Makes WebSockets to the one TLS key with this hash (SHA-256 of the SubjectPublicKeyInfo, DER), and to no other. */
function pinned(keyHash) {
  const agent = new Agent();
  agent.createConnection = (options) => {
    const socket = connect({ ...options, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    socket.once('secureConnect', () => {
      const key = new X509Certificate(socket.getPeerCertificate().raw).publicKey;
      const found = createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('hex');
      if (`0x${found}` !== keyHash) socket.destroy(new Error(`the TLS key ${found} is not the registry's`));
    });
    return socket;
  };
  return (url) => new websocket.w3cwebsocket(url, undefined, undefined, undefined, { agent });
}

/** The reason of a refusal, which this client throws where nobody awaits it; the promise only times out. */
async function refused(call) {
  let reason;
  const listen = (error) => (reason = error.message);
  process.once('uncaughtException', listen);
  const answer = await call.catch(() => undefined);
  process.off('uncaughtException', listen);
  expect(!answer && reason, 'a refusal');
  return reason;
}
