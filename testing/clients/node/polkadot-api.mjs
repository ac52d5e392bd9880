// polkadot-api (https://papi.how) at layer one: follows finality, moves money into a shard, and reads the chain's own
// events by their names. Types come from the chain at run time; `papi add` would generate them for TypeScript.
import { sr25519CreateDerive } from '@polkadot-labs/hdkd';
import { DEV_PHRASE, entropyToMiniSecret, mnemonicToEntropy, ss58Address } from '@polkadot-labs/hdkd-helpers';
import { getPolkadotSigner } from 'polkadot-api/signer';
import { createWsClient } from 'polkadot-api/ws';
import { WebSocket } from 'ws';
import { encryptAccount, expect, expectCode, run } from '../script.mjs';

// Planck, of //Charlie on layer one into //Charlie's account on the shard. Shard and fingerprint must be named.
const defaults = { shard: undefined, mrenclave: undefined, node: 'ws://127.0.0.1:9944', amount: '4000000000000' };

await run(defaults, async ({ shard, mrenclave, node, amount }) => {
  // Browsers, and Node.js from version 22 on, have a WebSocket of their own.
  const client = createWsClient(node, { websocketClass: WebSocket });
  const api = client.getUnsafeApi();
  const { EnclaveBridge, Sidechain } = api.event;
  const charlie = sr25519CreateDerive(entropyToMiniSecret(mnemonicToEntropy(DEV_PHRASE)))('//Charlie');
  const signer = getPolkadotSigner(charlie.publicKey, 'Sr25519', charlie.sign);

  const entry = await api.query.EnclaveBridge.Shards.getValue(shard);
  expect(entry, `a shard ${shard} on layer one`);
  const record = await api.query.Teerex.SovereignEnclaves.getValue(entry.birth.founder);
  expectCode(mrenclave, {
    allowed: entry.birth.config.enclave_fingerprint,
    registered: record?.fingerprint,
    kind: record?.kind.type,
    mode: record?.build_mode.type,
  });
  expect(!entry.retirement, 'a shard that is not going to be retired');
  const modulus = Buffer.from(entry.birth.shielding_keys.rsa_modulus.slice(2), 'hex');

  // Every finalized block, until the shard's enclave has reported that it has seen the one with the money.
  const finalized = [];
  client.finalizedBlock$.subscribe(({ number, hash }) => finalized.push([number, hash]));
  let height = Infinity;
  let anchored;
  const ofShard = ({ events }) => events.map(({ payload }) => payload).filter((payload) => payload.shard === shard);
  Sidechain.FinalizedSidechainBlock.watch().subscribe((seen) => (anchored = ofShard(seen).at(-1) ?? anchored));
  const processed = new Promise((resolve, reject) => {
    const next = (seen) => ofShard(seen).some(({ block_number }) => block_number >= height) && resolve();
    EnclaveBridge.ProcessedParentchainBlock.watch().subscribe({ next, error: reject });
  });

  const encrypted_account = encryptAccount(modulus, charlie.publicKey);
  const call = api.tx.EnclaveBridge.shield_funds({ shard, encrypted_account, amount: BigInt(amount) });
  const done = await call.signAndSubmit(signer);
  expect(done.ok, `success, not ${done.dispatchError?.type}`);
  const [shielded] = (await EnclaveBridge.ShieldFunds.get(done.block.hash)).map(({ payload }) => payload);
  expect(shielded?.shard === shard && shielded.amount === BigInt(amount), 'the event ShieldFunds');
  expect(encrypted_account.equals(shielded.encrypted_beneficiary), 'the encrypted beneficiary in the event');

  height = done.block.number;
  await processed;
  expect(anchored, 'the event FinalizedSidechainBlock');
  return {
    genesis: (await client.getChainSpecData()).genesisHash,
    shard,
    account: ss58Address(charlie.publicKey, 42),
    amount: shielded.amount,
    extrinsic: done.txHash,
    block: { number: height, hash: done.block.hash },
    finalized,
    anchored: Number(anchored.block_number),
  };
});
