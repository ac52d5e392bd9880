//! Extrinsics of the enclave's account, repeated until layer one has them.

use std::collections::VecDeque;

use cloister_chain_primitives::{
    BlockNumber, H256, Nonce, Registration,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
};
use cloister_keys::AccountKey;
use sp_runtime::generic::Era;

/// Extrinsics of the enclave's account, one nonce in flight at a time. Only the account's proven nonce tells that one
/// landed.
pub(crate) struct Extrinsics {
    chain: ChainVersion,
    registration: Option<Registration>,
    waiting: VecDeque<Call>,
    in_flight: Option<InFlight>,
    seen: Option<Seen>,
}

/// Something for layer one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outgoing {
    Call(Vec<u8>),
    Registration(Registration, Vec<u8>),
}

struct InFlight {
    /// `None`: a registration. It is not repeated: the next one has newer evidence.
    call: Option<Call>,
    extrinsic: Vec<u8>,
    nonce: Nonce,
    sent: BlockNumber,
    /// Last block in which the extrinsic is valid.
    expires: BlockNumber,
}

struct Seen {
    number: BlockNumber,
    hash: H256,
    /// Absent while the account does not exist, and so cannot pay.
    nonce: Option<Nonce>,
}

impl Extrinsics {
    pub fn new(chain: ChainVersion) -> Self {
        Self { chain, registration: None, waiting: VecDeque::new(), in_flight: None, seen: None }
    }

    pub fn set_version(&mut self, spec_version: u32, transaction_version: u32) {
        self.chain = ChainVersion { spec_version, transaction_version, ..self.chain };
    }

    pub fn add(&mut self, call: Call) {
        if self.waiting.len() >= MAX_WAITING {
            // Only confirmations get that many, and a newer one says everything that an older one says.
            self.waiting.pop_front();
        }
        self.waiting.push_back(call);
    }

    /// Goes out before everything else, and in place of one that has not landed.
    pub fn register(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }

    /// Whether `call` waits or is in flight.
    pub fn holds(&self, call: &Call) -> bool {
        let in_flight = self.in_flight.as_ref().and_then(|sent| sent.call.as_ref());
        in_flight == Some(call) || self.waiting.contains(call)
    }

    /// The account's nonce as proven at a finalized block.
    pub fn observe(&mut self, number: BlockNumber, hash: H256, nonce: Option<Nonce>) {
        let landed = |sent: &InFlight| nonce.is_some_and(|next| next > sent.nonce);
        if let Some(sent) = self.in_flight.take_if(|sent| landed(sent) || number > sent.expires)
            && !landed(&sent)
            && let Some(call) = sent.call
        {
            self.waiting.push_front(call);
        }
        self.seen = Some(Seen { number, hash, nonce });
    }

    /// The next extrinsic to submit, if there is one whose turn it is.
    pub fn next(&mut self, account: &AccountKey) -> Option<Outgoing> {
        let Seen { number, nonce, .. } = *self.seen.as_ref()?;
        if self.in_flight.as_ref().is_none_or(|sent| sent.call.is_none())
            && let Some(registration) = self.registration.take()
        {
            // The host gives the account its money after it has tried the registration.
            let call = Call::register_enclave(&registration);
            let extrinsic = self.sign(account, &call, None, nonce.unwrap_or(0))?;
            return Some(Outgoing::Registration(registration, extrinsic));
        }
        if let Some(sent) = &mut self.in_flight {
            let lost = sent.call.is_some() && number >= sent.sent.saturating_add(RESEND_BLOCKS);
            return lost.then(|| {
                sent.sent = number;
                Outgoing::Call(sent.extrinsic.clone())
            });
        }
        let nonce = nonce?;
        let call = self.waiting.pop_front()?;
        self.sign(account, &call, Some(call.clone()), nonce).map(Outgoing::Call)
    }

    fn sign(&mut self, account: &AccountKey, call: &Call, repeated: Option<Call>, nonce: Nonce) -> Option<Vec<u8>> {
        let seen = self.seen.as_ref()?;
        let era = Era::mortal(ERA_BLOCKS, u64::from(seen.number));
        let mortality = Mortality { era, birth_hash: seen.hash };
        let extrinsic =
            extrinsic::signed(call, &account.account(), nonce, mortality, &self.chain, |payload| account.sign(payload));
        let expires = BlockNumber::try_from(era.death(u64::from(seen.number))).unwrap_or(BlockNumber::MAX);
        let (extrinsic, sent) = (extrinsic, seen.number);
        self.in_flight = Some(InFlight { call: repeated, extrinsic: extrinsic.clone(), nonce, sent, expires });
        Some(extrinsic)
    }
}

/// How long an extrinsic is valid, in layer-one blocks.
const ERA_BLOCKS: u64 = 64;
/// After how many layer-one blocks what did not land is passed to the host again.
pub(crate) const RESEND_BLOCKS: BlockNumber = 10;
/// Most calls that wait.
const MAX_WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::ShardId;
    use cloister_claims::Evidence;

    use super::*;

    fn extrinsics() -> (Extrinsics, AccountKey) {
        let chain = ChainVersion { genesis: H256::repeat_byte(9), spec_version: 1, transaction_version: 1 };
        (Extrinsics::new(chain), AccountKey::draw().unwrap())
    }

    fn confirmation(number: BlockNumber) -> Call {
        Call::confirm_processed_parentchain_block(&ShardId::default(), &H256::zero(), number, &H256::zero())
    }

    fn registration(block_number: BlockNumber) -> Registration {
        Registration {
            evidence: Evidence::Dcap(vec![1]),
            incarnation_key: [2; 32],
            tls_key_hash: [3; 32],
            block_number,
            url: None,
        }
    }

    fn hash(byte: u8) -> H256 {
        H256::repeat_byte(byte)
    }

    #[test]
    fn a_lost_extrinsic_is_sent_and_signed_again_and_a_landed_one_is_not() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.add(confirmation(10));
        extrinsics.add(confirmation(11));
        assert_eq!(extrinsics.next(&account), None, "the nonce is not known yet");
        extrinsics.observe(11, hash(3), None);
        assert_eq!(extrinsics.next(&account), None, "the account cannot pay yet");
        extrinsics.observe(12, hash(4), Some(0));
        let first = extrinsics.next(&account).unwrap();
        assert_eq!(extrinsics.next(&account), None, "one at a time");
        extrinsics.observe(12 + RESEND_BLOCKS - 1, hash(5), Some(0));
        assert_eq!(extrinsics.next(&account), None);
        extrinsics.observe(12 + RESEND_BLOCKS, hash(5), Some(0));
        assert_eq!(extrinsics.next(&account), Some(first.clone()), "the same bytes again");
        assert_eq!(extrinsics.next(&account), None);
        extrinsics.observe(12 + 64 + 1, hash(6), Some(0));
        let again = extrinsics.next(&account).unwrap();
        assert_ne!(first, again, "signed anew for another era");
        extrinsics.observe(80, hash(7), Some(1));
        let second = extrinsics.next(&account).unwrap();
        assert_ne!(again, second);
        extrinsics.observe(81, hash(8), Some(2));
        assert_eq!(extrinsics.next(&account), None, "all landed");
    }

    #[test]
    fn a_registration_needs_no_account_and_a_newer_one_replaces_it() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(5, hash(1), None);
        extrinsics.register(registration(5));
        let Some(Outgoing::Registration(first, _)) = extrinsics.next(&account) else { panic!("none") };
        assert_eq!(first, registration(5));
        extrinsics.observe(15, hash(2), None);
        assert_eq!(extrinsics.next(&account), None, "what is not newer does not help");
        extrinsics.register(registration(15));
        let Some(Outgoing::Registration(second, _)) = extrinsics.next(&account) else { panic!("none") };
        assert_eq!(second, registration(15));
        extrinsics.add(confirmation(15));
        assert_eq!(extrinsics.next(&account), None, "one nonce at a time");
        extrinsics.observe(16, hash(3), Some(1));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Call(_))));
        assert!(extrinsics.holds(&confirmation(15)) && !extrinsics.holds(&confirmation(16)));
    }

    #[test]
    fn a_registration_goes_before_what_waits_and_after_what_is_in_flight() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(5, hash(1), Some(7));
        extrinsics.add(confirmation(1));
        extrinsics.add(confirmation(2));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Call(_))));
        extrinsics.register(registration(5));
        assert_eq!(extrinsics.next(&account), None);
        extrinsics.observe(6, hash(2), Some(8));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Registration(..))));
        extrinsics.observe(7, hash(3), Some(9));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Call(_))));
    }
}
