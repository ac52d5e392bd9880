//! What every command works with.

use cloister_claims::TeeKind;
use cloister_client::{
    BuildMode, Call, Executed, LayerOne, Selection, ShardClient, Signer, Wait, layer_one::SubmittedExtrinsic,
};
use cloister_wire::TrustedCall;

use crate::{
    Accounts, Console, Delivery, Failure, Global, Keystore, address,
    workers::{DEBUG, SIMULATED, hex0x},
};

/// The user's node, worker, keys and terminal.
pub struct Session {
    /// Turns what the user wrote into accounts and keys.
    pub accounts: Accounts,
    /// Where the user reads what goes on.
    pub console: Console,
    pub(crate) node_url: String,
    /// Whether the node stands on the command line.
    pub(crate) node_url_given: bool,
    pub(crate) worker_url: String,
    pub(crate) json: bool,
}

impl Session {
    /// As the options say. Connects to nobody yet.
    pub fn new(global: &Global) -> Self {
        let keystore = Keystore::new(global.keystore.as_deref());
        Self {
            accounts: Accounts { keystore, scheme: global.scheme.into(), suri_file: global.suri_file.clone() },
            console: Console::new(global.json),
            node_url: address::of_node(&global.node_url, global.node_port),
            node_url_given: false,
            worker_url: address::of_worker(&global.worker_url, global.worker_port),
            json: global.json,
        }
    }

    /// Connects to the user's node.
    pub async fn layer_one(&self) -> Result<LayerOne, Failure> {
        let _waiting = self.console.waits(format_args!("connects to the node at {}", self.node_url));
        Ok(LayerOne::connect(&self.node_url).await?)
    }

    /// Connects to the shard that the user selected, and says whom the user is about to trust, before anything is
    /// entrusted to it.
    pub async fn connect(&self, selection: &Selection) -> Result<ShardClient, Failure> {
        let layer_one = self.layer_one().await?;
        let waiting = self.console.waits(format_args!("looks for the shard and its enclave at {}", self.worker_url));
        let client = ShardClient::connect(&layer_one, &self.worker_url, selection).await?;
        drop(waiting);
        let enclave = &client.shard().enclave;
        if selection.shard.is_none() && selection.mrenclave.is_none() {
            let (kind, fingerprint) = (enclave.kind.name(), hex0x(&enclave.fingerprint));
            self.console
                .say(format_args!("enclave: kind {kind}, fingerprint {fingerprint}; --mrenclave accepts no other one"));
        }
        if enclave.kind == TeeKind::Simulated {
            self.console.say(format_args!("warning: the enclave is {SIMULATED}"));
        }
        if enclave.build_mode == BuildMode::Debug {
            self.console.say(format_args!("warning: the enclave runs in {DEBUG}"));
        }
        Ok(client)
    }

    /// Signs a call of layer one, submits it and waits, and says how it goes on.
    pub async fn submit(
        &self,
        layer_one: &LayerOne,
        call: &Call,
        from: &Signer,
        wait: Wait,
    ) -> Result<SubmittedExtrinsic, Failure> {
        let _waiting = self.console.waits(waits_for(wait));
        Ok(layer_one.submit_reporting(call, from, wait, |progress| self.console.progress(progress)).await?)
    }

    /// Signs a call of a shard with the sender's next nonce, delivers it, waits until the shard has executed it, and
    /// says how it goes on. One that fails on the shard is a failure.
    pub async fn execute(
        &self,
        client: &ShardClient,
        sender: &Signer,
        call: TrustedCall,
        delivery: &Delivery,
    ) -> Result<Executed, Failure> {
        let _waiting = self.console.waits("waits until the shard has executed it");
        let say = |step: cloister_client::Step<'_>| self.console.step(step);
        Ok(delivery.client(client).execute(sender, delivery.route(), call, delivery.timeout, say).await?)
    }
}

/// For the user.
pub(crate) fn waits_for(wait: Wait) -> &'static str {
    match wait {
        Wait::Submitted => "waits until the node has it",
        Wait::InBlock => "waits until it is in a block of layer one",
        Wait::Finalized => "waits until its block of layer one is final",
    }
}
