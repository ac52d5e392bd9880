// smoldot (https://github.com/smol-dot/smoldot), a light client: speaks with the nodes' peer-to-peer ports, trusts none
// of them, and proves what it reads by finalized headers. polkadot-api asks it as it would ask a node.
import { readFile } from 'node:fs/promises';
import { createClient } from 'polkadot-api';
import { getSmProvider } from 'polkadot-api/sm-provider';
import { start } from 'smoldot';
import { expect, run } from '../script.mjs';

// The chain's specification, raw, with the addresses (…/ws/p2p/…) of the nodes as `bootNodes`:
// `cloister-node export-chain-spec --chain dev --raw`.
await run({ spec: 'spec.json', blocks: '3' }, async ({ spec, blocks }) => {
  const smoldot = start({ maxLogLevel: 3, logCallback: (_level, target, message) => console.error(target, message) });
  const chain = smoldot.addChain({ chainSpec: await readFile(spec, 'utf8') });
  const client = createClient(getSmProvider(() => chain));

  const finalized = [];
  await new Promise((resolve, reject) => {
    const next = ({ number, hash }) => finalized.push([number, hash]) >= Number(blocks) && resolve();
    client.finalizedBlock$.subscribe({ next, error: reject });
  });
  const shards = await client.getUnsafeApi().query.EnclaveBridge.Shards.getEntries();
  const genesis = (await client.getChainSpecData()).genesisHash;
  return { genesis, finalized, shards: shards.map(({ keyArgs: [shard] }) => shard) };
});
