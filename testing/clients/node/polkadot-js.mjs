// Polkadot.js (https://polkadot.js.org/docs/api) at layer one: follows finality, moves money into a shard, and reads
// the chain's own events by their names.
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { encryptAccount, expect, expectCode, run } from '../script.mjs';

// Planck, of //Bob on layer one into //Bob's account on the shard. Shard and fingerprint must be named.
const defaults = { shard: undefined, mrenclave: undefined, node: 'ws://127.0.0.1:9944', amount: '5000000000000' };

await run(defaults, async ({ shard, mrenclave, node, amount }) => {
  const api = await ApiPromise.create({ provider: new WsProvider(node), noInitWarn: true });
  const bob = new Keyring({ type: 'sr25519' }).addFromUri('//Bob');

  const found = await api.query.enclaveBridge.shards(shard);
  expect(found.isSome, `a shard ${shard} on layer one`);
  const { birth, retirement } = found.unwrap();
  const record = (await api.query.teerex.sovereignEnclaves(birth.founder)).unwrapOr(undefined);
  expectCode(mrenclave, {
    allowed: birth.config.enclaveFingerprint.toHex(),
    registered: record?.fingerprint.toHex(),
    kind: record?.kind.type,
    mode: record?.buildMode.type,
  });
  expect(retirement.isNone, 'a shard that is not going to be retired');
  const { rsaModulus } = birth.shieldingKeys;

  // Every finalized block, until the shard's enclave has reported that it has seen the one with the money.
  const finalized = [];
  let height = Infinity;
  let anchored;
  const processed = new Promise((resolve, reject) => {
    const look = async ({ number, hash }) => {
      finalized.push([number.toNumber(), hash]);
      for (const { event } of await (await api.at(hash)).query.system.events()) {
        if (!event.data.shard?.eq(shard)) continue;
        if (api.events.sidechain.FinalizedSidechainBlock.is(event)) anchored = event.data;
        if (api.events.enclaveBridge.ProcessedParentchainBlock.is(event)) {
          if (event.data.blockNumber.toNumber() >= height) resolve();
        }
      }
    };
    let last = Promise.resolve();
    const next = (header) => (last = last.then(() => look(header)).catch(reject));
    api.derive.chain.subscribeFinalizedHeads(next).catch(reject);
  });

  const sealed = encryptAccount(rsaModulus.toU8a(), bob.publicKey);
  const call = api.tx.enclaveBridge.shieldFunds(shard, `0x${sealed.toString('hex')}`, amount);
  const done = await new Promise((resolve, reject) => {
    const watch = (result) => {
      if (result.dispatchError || result.isError) reject(new Error(`${result.dispatchError ?? result.status}`));
      if (result.isFinalized) resolve(result);
    };
    call.signAndSend(bob, watch).catch(reject);
  });
  const shielded = done.events.find(({ event }) => api.events.enclaveBridge.ShieldFunds.is(event))?.event.data;
  expect(shielded?.shard.eq(shard) && shielded.amount.eq(amount), `the event ShieldFunds, not ${shielded}`);
  expect(shielded.encryptedBeneficiary.eq(sealed), 'the encrypted beneficiary in the event');

  height = done.blockNumber.toNumber();
  await processed;
  expect(anchored, 'the event FinalizedSidechainBlock');
  return {
    genesis: api.genesisHash,
    shard,
    account: bob.address,
    amount: shielded.amount.toString(),
    extrinsic: done.txHash,
    block: { number: height, hash: done.status.asFinalized },
    finalized,
    anchored: anchored.blockNumber.toNumber(),
  };
});
