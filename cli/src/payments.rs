//! Payments from a confidential account: on the shard, and to layer one.

use std::time::Duration;

use cloister_client::{
    AccountId, Balance, DIRECT_CALL_FEE, Executed, Route, Selection, ShardClient, Signer, Step, UNSHIELD_FEE,
    Unshielding, Verdict, layer_one::Found, shard, worker::Update,
};
use cloister_wire::{TrustedCall, TrustedOperationStatus};

use crate::{
    Session, amount,
    args::{PaymentArgs, TransferArgs, TrustedWaitFor, UnshieldArgs, UnshieldWaitFor},
    failure::Failure,
    output::Report,
    public::{payment_report, show_progress},
    trusted::connect,
    workers::hex0x,
};

/// What was asked for, with the keys for it.
struct Payment {
    from: Signer,
    to: AccountId,
    amount: Balance,
    /// Of layer one's fee; `None` for a call that has none.
    payer: Option<Signer>,
    timeout: Duration,
}

impl Payment {
    fn read(session: &Session, args: &PaymentArgs, direct: bool) -> Result<Self, Failure> {
        if direct && args.payer.is_some() {
            return Err(Failure::usage("--payer pays layer one's fee, and a call with --direct has none"));
        }
        let from = session.accounts.signer(&args.from)?;
        let to = session.accounts.address(&args.to)?;
        let payer = match (direct, args.payer.as_deref()) {
            (true, _) => None,
            (false, Some(payer)) => Some(session.accounts.signer(payer)?),
            (false, None) => Some(from.clone()),
        };
        Ok(Self { from, to, amount: args.amount, payer, timeout: Duration::from_secs(args.timeout) })
    }

    fn route(&self) -> Route<'_> {
        match &self.payer {
            None => Route::Direct,
            Some(payer) => Route::Inbox { payer },
        }
    }

    /// What the shard takes.
    fn fee(&self, for_layer_one: Balance) -> Balance {
        let work = if self.payer.is_none() { DIRECT_CALL_FEE } else { 0 };
        work.saturating_add(for_layer_one)
    }

    fn left(&self, executed: &Executed) -> Duration {
        self.timeout.saturating_sub(executed.since.elapsed())
    }

    async fn anchored(&self, client: &ShardClient, executed: &Executed) -> Result<(), Failure> {
        let anchored = client.anchored(executed.block_number, self.left(executed)).await?;
        eprintln!("anchored by layer one's block #{}", anchored.at);
        Ok(())
    }

    fn report(&self, client: &ShardClient, executed: &Executed, status: &'static str, fee: Balance) -> Report {
        let mut report = payment_report(&self.from, &self.to, self.amount)
            .field_as("fee", fee.to_string(), format_args!("{} on the shard", amount::format(fee)))
            .field("operation", format_args!("{:?}", executed.operation))
            .field("status", status)
            .field_as("block number", executed.block_number, executed.block_number);
        if let (Some(payer), Some(invocation)) = (&self.payer, &executed.invocation) {
            report = report
                .field("payer", payer.account())
                .field_as("nonce", invocation.nonce, invocation.nonce)
                .field("extrinsic", format_args!("{:?}", invocation.extrinsic))
                .field_as("layer one", invocation.block_number, format_args!("block #{}", invocation.block_number))
                .field_if("layer one fee", invocation.fee.map(|fee| (fee.to_string(), amount::format(fee))));
        }
        report.field("shard", hex0x(&client.shard().id))
    }
}

/// `trusted transfer`
pub async fn transfer(
    session: &Session,
    selection: &Selection,
    TransferArgs { payment, wait }: TransferArgs,
    direct: bool,
) -> Result<Report, Failure> {
    let payment = Payment::read(session, &payment, direct)?;
    let client = connect(session, selection).await?;
    let call = TrustedCall::BalanceTransfer(payment.from.account(), payment.to.clone(), payment.amount);
    let executed = client.execute(&payment.from, payment.route(), call, payment.timeout, show_step).await?;
    let status = match wait {
        TrustedWaitFor::InBlock => IN_BLOCK,
        TrustedWaitFor::Finalized => {
            payment.anchored(&client, &executed).await?;
            FINALIZED
        }
    };
    Ok(payment.report(&client, &executed, status, payment.fee(0)))
}

/// `trusted unshield-funds`
pub async fn unshield_funds(
    session: &Session,
    selection: &Selection,
    UnshieldArgs { payment, wait }: UnshieldArgs,
    direct: bool,
) -> Result<Report, Failure> {
    let payment = Payment::read(session, &payment, direct)?;
    let client = connect(session, selection).await?;
    let Payment { from, to, amount, timeout, .. } = &payment;
    let unshielding = client.unshield(from, to, *amount, payment.route(), *timeout, show_step).await?;
    let Unshielding { executed, number, id, .. } = &unshielding;
    eprintln!("entry {number} of the shard's outbox, {id:?}");
    let report = |status| {
        payment
            .report(&client, executed, status, payment.fee(UNSHIELD_FEE))
            .field_as("outbox number", *number, number)
            .field("outbox id", format_args!("{id:?}"))
    };
    if wait == UnshieldWaitFor::InBlock {
        return Ok(report(IN_BLOCK));
    }
    payment.anchored(&client, executed).await?;
    if wait == UnshieldWaitFor::Finalized {
        return Ok(report(FINALIZED));
    }
    let mut told = false;
    let deferred = |block| {
        if !told {
            eprintln!("put off by layer one's block #{block}: over the outflow limit; paid in the next period");
        }
        told = true;
    };
    let (verdict, Found { block_number, value: block_hash }) =
        client.settled(&unshielding, payment.left(executed), deferred).await?;
    match verdict {
        Verdict::Paid => {
            eprintln!("paid in layer one's block #{block_number} {block_hash:?}");
            Ok(report("paid")
                .field_as("paid in", block_number, format_args!("layer one's block #{block_number}"))
                .field("paid in hash", format_args!("{block_hash:?}")))
        }
        Verdict::Refused => {
            eprintln!("refused in layer one's block #{block_number} {block_hash:?}");
            let closed = client.closed(from, *number, payment.left(executed)).await;
            let shard_block = closed.map_err(|error| match error {
                error @ shard::Error::NotClosed { .. } => error,
                // What the registry or the enclave refuses now undoes nothing.
                source => shard::Error::PerhapsExecuted { operation: executed.operation, source: source.into() },
            })?;
            eprintln!("credited again, as of block #{shard_block} of the shard");
            let (planck, kept) = (amount::format(*amount), amount::format(payment.fee(UNSHIELD_FEE)));
            let message = format!(
                "layer one refused to pay {planck} to {to}, and the shard has credited them to {} again; its fee of \
                 {kept} is kept",
                from.account()
            );
            Err(Failure::came_back(anyhow::anyhow!(message)).with_hint(WHY_REFUSED))
        }
    }
}

fn show_step(step: Step) {
    match step {
        Step::Submitted(operation) => eprintln!("submitted {operation:?}"),
        Step::Status(update) => show_update(update),
        Step::LayerOne(progress) => show_progress(progress),
        Step::InInbox(block) => eprintln!("waits until the shard reports that it has processed block #{block}"),
        Step::Executed(block) => eprintln!("executed in block #{block} of the shard"),
    }
}

fn show_update(update: &Update) {
    match update.status {
        TrustedOperationStatus::Ready => eprintln!("ready"),
        TrustedOperationStatus::Future => eprintln!("waits for calls with lower nonces"),
        TrustedOperationStatus::InSidechainBlock(block) => eprintln!("in block {block:?} of the shard"),
        TrustedOperationStatus::Finalized => eprintln!("anchored in a finalized block of layer one"),
        _ => {}
    }
}

const IN_BLOCK: &str = "in-sidechain-block";
const FINALIZED: &str = "finalized";
const WHY_REFUSED: &str = "an account that does not exist takes no less than the existential deposit; nothing above a whole \
                           period's outflow limit or the escrow is paid: `cloister shard show` shows both";
