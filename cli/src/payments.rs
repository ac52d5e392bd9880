//! Payments from a confidential account: on the shard, and to layer one.

use std::time::Duration;

use cloister_client::{
    AccountId, Balance, DIRECT_CALL_FEE, Executed, Selection, ShardClient, Signer, Step, UNSHIELD_FEE, Unshielding,
    Verdict, layer_one::Found, shard,
};
use cloister_wire::TrustedCall;

use crate::{
    Delivery, Session, amount,
    args::{PaymentArgs, TransferArgs, TrustedWaitFor, UnshieldArgs, UnshieldWaitFor},
    failure::Failure,
    output::Report,
    public::payment_report,
    workers::hex0x,
};

/// What was asked for, with the keys for it.
struct Payment {
    from: Signer,
    to: AccountId,
    amount: Balance,
    delivery: Delivery,
}

impl Payment {
    fn read(session: &Session, args: &PaymentArgs, direct: bool) -> Result<Self, Failure> {
        let from = session.accounts.signer(&args.from)?;
        let to = session.accounts.address(&args.to)?;
        let delivery = Delivery::read(session, &from, &args.call, direct)?;
        Ok(Self { from, to, amount: args.amount, delivery })
    }

    /// What the shard takes.
    fn fee(&self, for_layer_one: Balance) -> Balance {
        let work = if self.delivery.is_direct() { DIRECT_CALL_FEE } else { 0 };
        work.saturating_add(for_layer_one)
    }

    fn left(&self, executed: &Executed) -> Duration {
        self.delivery.left(executed.since)
    }

    async fn anchored(&self, session: &Session, client: &ShardClient, executed: &Executed) -> Result<(), Failure> {
        let height = executed.block_number;
        let waiting =
            session.console.waits(format_args!("waits until layer one has anchored the shard's block {height}"));
        let anchored = client.anchored(height, self.left(executed)).await.map_err(|error| match error {
            // Whatever the node does not tell now, the call is executed.
            shard::Error::LayerOne(_) => {
                shard::Error::PerhapsExecuted { operation: executed.operation, source: error.into() }
            }
            error => error,
        })?;
        drop(waiting);
        session.console.say(format_args!("anchored by layer one's block #{}", anchored.at));
        Ok(())
    }

    fn report(&self, client: &ShardClient, executed: &Executed, status: &'static str, fee: Balance) -> Report {
        let mut report = payment_report(&self.from, &self.to, self.amount)
            .field_as("fee", fee.to_string(), format_args!("{} on the shard", amount::format(fee)))
            .field("operation", format_args!("{:?}", executed.operation))
            .field("status", status)
            .field_as("block number", executed.block_number, executed.block_number);
        if let (Some(payer), Some(invocation)) = (&self.delivery.payer, &executed.invocation) {
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
    let client = session.connect(selection).await?;
    let call = TrustedCall::BalanceTransfer(payment.from.account(), payment.to.clone(), payment.amount);
    let executed = session.execute(&client, &payment.from, call, &payment.delivery).await?;
    let status = match wait {
        TrustedWaitFor::InBlock => IN_BLOCK,
        TrustedWaitFor::Finalized => {
            payment.anchored(session, &client, &executed).await?;
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
    let client = session.connect(selection).await?;
    let Payment { from, to, amount, delivery } = &payment;
    let console = &session.console;
    let waiting = console.waits("waits until the shard has executed it");
    let say = |step: Step<'_>| console.step(step);
    let unshielding =
        delivery.client(&client).unshield(from, to, *amount, delivery.route(), delivery.timeout, say).await?;
    drop(waiting);
    let Unshielding { executed, number, id, .. } = &unshielding;
    console.say(format_args!("entry {number} of the shard's outbox, {id:?}"));
    let report = |status| {
        payment
            .report(&client, executed, status, payment.fee(UNSHIELD_FEE))
            .field_as("outbox number", *number, number)
            .field("outbox id", format_args!("{id:?}"))
    };
    if wait == UnshieldWaitFor::InBlock {
        return Ok(report(IN_BLOCK));
    }
    payment.anchored(session, &client, executed).await?;
    if wait == UnshieldWaitFor::Finalized {
        return Ok(report(FINALIZED));
    }
    let mut told = false;
    let deferred = |block| {
        if !told {
            console.say(format_args!(
                "put off by layer one's block #{block}: over the outflow limit; paid in the next period"
            ));
        }
        told = true;
    };
    let waiting = console.waits("waits until layer one has paid");
    let (verdict, Found { block_number, value: block_hash }) =
        client.settled(&unshielding, payment.left(executed), deferred).await?;
    drop(waiting);
    match verdict {
        Verdict::Paid => {
            console.say(format_args!("paid in layer one's block #{block_number} {block_hash:?}"));
            Ok(report("paid")
                .field_as("paid in", block_number, format_args!("layer one's block #{block_number}"))
                .field("paid in hash", format_args!("{block_hash:?}")))
        }
        Verdict::Refused => {
            console.say(format_args!("refused in layer one's block #{block_number} {block_hash:?}"));
            let waiting = console.waits("waits until the shard has credited it again");
            let closed = client.closed(from, *number, payment.left(executed)).await;
            let shard_block = closed.map_err(|error| match error {
                error @ shard::Error::NotClosed { .. } => error,
                // What the registry or the enclave refuses now undoes nothing.
                source => shard::Error::PerhapsExecuted { operation: executed.operation, source: source.into() },
            })?;
            drop(waiting);
            console.say(format_args!("credited again, as of block #{shard_block} of the shard"));
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

const IN_BLOCK: &str = "in-sidechain-block";
const FINALIZED: &str = "finalized";
const WHY_REFUSED: &str = "an account that does not exist takes no less than the existential deposit; nothing above a whole \
                           period's outflow limit or the escrow is paid: `cloister shard show` shows both";
