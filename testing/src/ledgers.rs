//! Both ledgers of a shard, layer one's and its own, compared to the planck.

use anyhow::{Context, Result, ensure};
use cloister_chain_primitives::{Balance, EXISTENTIAL_DEPOSIT, Flows, H256, ShardId, storage};
use cloister_client::{ShardClient, Signer};
use cloister_wire::sidechain::Books;
use jsonrpsee::rpc_params;

use crate::{Chain, Sidechain, deployment::SETTLE_DEADLINE, eventually, worker::Ports};

/// What both say of a shard at rest: it has consumed its inbox, and nothing of its outbox is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ledgers {
    /// The shard's books after its newest block.
    pub books: Books,
    /// What layer one moved for the shard.
    pub flows: Flows,
    /// Planck booked for it there.
    pub escrow: Balance,
    /// Planck that the escrow's account holds.
    pub held: Balance,
}

impl Ledgers {
    /// Waits until the shard is at rest, and checks that the two agree.
    pub async fn at_rest(chain: &Chain, shard: &ShardClient, ports: Ports) -> Result<Self> {
        let birth = shard.shard();
        let mut sidechain = Sidechain::new(birth.genesis, birth.id, birth.entry.birth.genesis_commitment);
        let ledgers = eventually("a shard at rest", 2 * SETTLE_DEADLINE, async || {
            sidechain.follow(ports).await?;
            let ledgers = Self::read(chain, birth.id, sidechain.books()).await?;
            let length: u64 = chain.storage(&storage::inbox_length(&birth.id), None).await?.unwrap_or_default();
            let is_at_rest = sidechain.consumed() == length
                && ledgers.books.outbox_closed == ledgers.books.outbox_next
                && ledgers.books.shielded == ledgers.flows.shielded;
            Ok(is_at_rest.then_some(ledgers))
        });
        let ledgers = ledgers.await?;
        ledgers.check().with_context(|| format!("{ledgers:?}"))?;
        Ok(ledgers)
    }

    async fn read(chain: &Chain, shard: ShardId, books: Books) -> Result<Self> {
        let at: H256 = chain.request("chain_getBlockHash", rpc_params![]).await?;
        let account: Option<storage::AccountInfo> =
            chain.storage(&storage::account(&shard.escrow_account(&chain.genesis())), Some(at)).await?;
        Ok(Self {
            books,
            flows: chain.storage(&storage::flows(&shard), Some(at)).await?.unwrap_or_default(),
            escrow: chain.storage(&storage::escrow(&shard), Some(at)).await?.unwrap_or_default(),
            held: account.unwrap_or_default().free,
        })
    }

    fn check(&self) -> Result<()> {
        let Self { books, flows, escrow, held } = self;
        ensure!(books.open() == Some(0), "something is open");
        ensure!(books.paid == flows.paid, "what is closed as paid is not what layer one paid");
        ensure!(*escrow + flows.paid + flows.repaid == flows.shielded, "layer one's booking does not add up");
        ensure!(flows.repaid <= books.fees, "more was repaid than the shard has charged");
        let owned = books.issuance().context("less than nothing")?;
        ensure!(*escrow + flows.repaid == owned + books.fees, "the escrow is not what is owned and charged");
        // The founder has given it its existential deposit, which is never paid out.
        ensure!(*held == *escrow + EXISTENTIAL_DEPOSIT, "the escrow's account holds another sum than is booked");
        Ok(())
    }

    /// Checks that these accounts, all that there are, have what the books say; returns their balances.
    pub async fn are_of<const N: usize>(&self, shard: &ShardClient, owners: [&Signer; N]) -> Result<[Balance; N]> {
        let mut balances = [0; N];
        for (balance, owner) in balances.iter_mut().zip(owners) {
            *balance = shard.free_balance(owner).await?;
        }
        let sum: Balance = balances.iter().sum();
        ensure!(self.books.issuance() == Some(sum), "accounts have {sum} in all: {self:?}");
        Ok(balances)
    }
}
