//! Extrinsics of the enclave's account, repeated until layer one has them.

use std::collections::VecDeque;

use cloister_chain_primitives::{
    BlockNumber, H256, Nonce, Registration,
    calls::Call,
    extrinsic::{self, ChainVersion, Mortality},
};
use cloister_keys::AccountKey;
use sp_runtime::generic::Era;

/// Extrinsics of the enclave's account, one nonce at a time. Only the account's proven nonce tells that one landed.
///
/// A registration goes first, but one that is signed may wait long for what its host has to see to. So the two take
/// turns: calls pass a registration once it can no longer land, which leaves no doubt about whose the nonce was; and a
/// registration, which has a deadline, replaces a call that is lost.
pub(crate) struct Extrinsics {
    chain: ChainVersion,
    /// The newest one; signed when it is its turn.
    registration: Option<Registration>,
    waiting: VecDeque<Call>,
    /// The registration that was signed last, as long as it may land. It is not repeated: the next one has newer
    /// evidence.
    registering: Option<Signed>,
    /// The call that was signed last, as long as it may land.
    calling: Option<Calling>,
    /// Until this block no registration goes before calls.
    calls_first_until: BlockNumber,
    seen: Option<Seen>,
}

/// Something for layer one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outgoing {
    Call(Vec<u8>),
    Registration(Registration, Vec<u8>),
}

struct Signed {
    extrinsic: Vec<u8>,
    nonce: Nonce,
    sent: BlockNumber,
    /// First block in which the extrinsic is no longer valid.
    expires: BlockNumber,
}

impl Signed {
    fn is_lost(&self, number: BlockNumber) -> bool {
        number >= self.sent.saturating_add(RESEND_BLOCKS)
    }
}

struct Calling {
    call: Call,
    signed: Signed,
    /// Whether a registration with the same nonce may have landed instead.
    rivalled: bool,
}

struct Seen {
    number: BlockNumber,
    hash: H256,
    /// Absent while the account does not exist, and so cannot pay.
    nonce: Option<Nonce>,
}

impl Extrinsics {
    pub fn new(chain: ChainVersion) -> Self {
        Self {
            chain,
            registration: None,
            waiting: VecDeque::new(),
            registering: None,
            calling: None,
            calls_first_until: 0,
            seen: None,
        }
    }

    pub fn set_version(&mut self, spec_version: u32, transaction_version: u32) {
        self.chain = ChainVersion { spec_version, transaction_version, ..self.chain };
    }

    pub fn add(&mut self, call: Call) {
        self.waiting.push_back(call);
    }

    /// Goes out when it is a registration's turn, unless a newer one comes before that.
    pub fn register(&mut self, registration: Registration) {
        self.registration = Some(registration);
    }

    /// Whether no call waits or is in flight.
    pub fn is_idle(&self) -> bool {
        self.calling.is_none() && self.waiting.is_empty()
    }

    /// Whether `call` waits or is in flight.
    pub fn holds(&self, call: &Call) -> bool {
        self.calling.as_ref().is_some_and(|calling| calling.call == *call) || self.waiting.contains(call)
    }

    /// The account's nonce as proven at a finalized block. Whether that of the registration in flight is used: by it, or by
    /// something that this account signed before, in an earlier start perhaps.
    pub fn observe(&mut self, number: BlockNumber, hash: H256, nonce: Option<Nonce>) -> bool {
        let landed = |signed: &Signed| nonce.is_some_and(|next| next > signed.nonce);
        let over = |signed: &Signed| landed(signed) || number > signed.expires;
        if let Some(Calling { call, signed, rivalled }) = self.calling.take_if(|calling| over(&calling.signed))
            // The nonce may have been the registration's, and one that layer one refused leaves no trace: what calls do
            // may be done twice.
            && (rivalled || !landed(&signed))
        {
            self.waiting.push_front(call);
        }
        let registering = self.registering.take_if(|signed| over(signed));
        if registering.as_ref().is_some_and(|signed| !landed(signed)) {
            self.calls_first_until = number.saturating_add(TURN_BLOCKS);
            if let Some(calling) = &mut self.calling {
                calling.rivalled = false;
            }
        }
        self.seen = Some(Seen { number, hash, nonce });
        registering.as_ref().is_some_and(landed)
    }

    /// The next extrinsic to submit, if there is one whose turn it is.
    pub fn next(&mut self, account: &AccountKey) -> Option<Outgoing> {
        let Seen { number, nonce, .. } = *self.seen.as_ref()?;
        if self.is_registrations_turn(number)
            && let Some(registration) = self.registration.take()
        {
            // The host gives the account its money after it has tried the registration.
            let call = Call::register_enclave(&registration);
            let signed = self.sign(account, &call, nonce.unwrap_or(0), TURN_BLOCKS)?;
            if let Some(calling) = &mut self.calling {
                calling.rivalled = true;
            }
            let extrinsic = signed.extrinsic.clone();
            self.registering = Some(signed);
            return Some(Outgoing::Registration(registration, extrinsic));
        }
        if self.registering.is_some() {
            return None;
        }
        if let Some(Calling { signed, .. }) = &mut self.calling {
            return signed.is_lost(number).then(|| {
                signed.sent = number;
                Outgoing::Call(signed.extrinsic.clone())
            });
        }
        let nonce = nonce?;
        let call = self.waiting.pop_front()?;
        let signed = self.sign(account, &call, nonce, CALL_ERA_BLOCKS)?;
        let extrinsic = signed.extrinsic.clone();
        self.calling = Some(Calling { call, signed, rivalled: false });
        Some(Outgoing::Call(extrinsic))
    }

    fn is_registrations_turn(&self, number: BlockNumber) -> bool {
        match (&self.registering, &self.calling) {
            // A newer one replaces an older one, but does not add to the time that calls have waited for that.
            (Some(_), None) => self.waiting.is_empty(),
            (Some(_), Some(_)) => false,
            (None, None) => self.waiting.is_empty() || number >= self.calls_first_until,
            (None, Some(calling)) => calling.signed.is_lost(number) && number >= self.calls_first_until,
        }
    }

    fn sign(&self, account: &AccountKey, call: &Call, nonce: Nonce, era_blocks: BlockNumber) -> Option<Signed> {
        let &Seen { number, hash, .. } = self.seen.as_ref()?;
        let era = Era::mortal(era_blocks.into(), number.into());
        let mortality = Mortality { era, birth_hash: hash };
        let extrinsic =
            extrinsic::signed(call, &account.account(), nonce, mortality, &self.chain, |payload| account.sign(payload));
        let expires = BlockNumber::try_from(era.death(number.into())).unwrap_or(BlockNumber::MAX);
        Some(Signed { extrinsic, nonce, sent: number, expires })
    }
}

/// How long a call is valid, in layer-one blocks; a power of two.
const CALL_ERA_BLOCKS: BlockNumber = 64;
/// How long a registration is valid, and how long calls go first after one that did not land, in layer-one blocks; a
/// power of two.
const TURN_BLOCKS: BlockNumber = 32;
/// After how many layer-one blocks what did not land is passed to the host again.
pub(crate) const RESEND_BLOCKS: BlockNumber = 10;

#[cfg(test)]
mod tests {
    use cloister_chain_primitives::ShardId;
    use cloister_claims::Evidence;
    use codec::Encode;

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

    /// What an extrinsic is, by the call at its end.
    fn is(extrinsic: &[u8], call: &Call) -> bool {
        extrinsic.ends_with(&call.encode())
    }

    #[test]
    fn calls_pass_a_registration_that_can_no_longer_land_and_it_them() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(100, hash(1), Some(7));
        extrinsics.register(registration(100));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Registration(..))));
        extrinsics.add(confirmation(1));
        extrinsics.add(confirmation(2));
        for number in 101..=100 + TURN_BLOCKS {
            extrinsics.register(registration(number));
            extrinsics.observe(number, hash(2), Some(7));
            assert_eq!(extrinsics.next(&account), None, "the first one may still land; a newer one would add to that");
        }
        let mut nonce = 7;
        let after = 100 + TURN_BLOCKS + 1;
        for (number, call) in [(after, confirmation(1)), (after + 3, confirmation(2))] {
            extrinsics.observe(number, hash(3), Some(nonce));
            let Some(Outgoing::Call(extrinsic)) = extrinsics.next(&account) else { panic!("no call at {number}") };
            assert!(is(&extrinsic, &call));
            assert_eq!(extrinsics.next(&account), None, "one nonce at a time");
            nonce += 1;
        }
        // None waits any longer.
        extrinsics.observe(after + 6, hash(4), Some(nonce));
        let Some(Outgoing::Registration(newest, _)) = extrinsics.next(&account) else { panic!("none") };
        assert_eq!(newest, registration(100 + TURN_BLOCKS));
        assert!(!extrinsics.holds(&confirmation(1)) && !extrinsics.holds(&confirmation(2)), "each landed once");
    }

    #[test]
    fn calls_without_end_do_not_keep_a_registration_waiting() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(1, hash(1), Some(0));
        extrinsics.register(registration(1));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Registration(..))));
        let (mut nonce, mut registered_at) = (0, None);
        for number in 2..=3 + 2 * TURN_BLOCKS {
            extrinsics.add(confirmation(number));
            extrinsics.register(registration(number));
            extrinsics.observe(number, hash(2), Some(nonce));
            match extrinsics.next(&account) {
                Some(Outgoing::Call(_)) => nonce += 1,
                Some(Outgoing::Registration(newest, _)) => {
                    assert_eq!(newest, registration(number));
                    registered_at = registered_at.or(Some(number));
                }
                None => {}
            }
        }
        assert_eq!((nonce, registered_at), (TURN_BLOCKS, Some(2 + 2 * TURN_BLOCKS)));
    }

    #[test]
    fn a_registration_replaces_a_lost_call_which_goes_again_whichever_of_them_landed() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(10, hash(1), Some(4));
        extrinsics.add(confirmation(1));
        let Some(Outgoing::Call(first)) = extrinsics.next(&account) else { panic!("none") };
        extrinsics.register(registration(10));
        extrinsics.observe(10 + RESEND_BLOCKS - 1, hash(2), Some(4));
        assert_eq!(extrinsics.next(&account), None, "it may just be slow");
        extrinsics.observe(10 + RESEND_BLOCKS, hash(3), Some(4));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Registration(..))));
        extrinsics.register(registration(20));
        extrinsics.observe(10 + 2 * RESEND_BLOCKS, hash(4), Some(4));
        assert_eq!(extrinsics.next(&account), None, "neither of the two is sent again while the other may land");
        extrinsics.observe(11 + 2 * RESEND_BLOCKS, hash(5), Some(5));
        assert!(extrinsics.holds(&confirmation(1)), "the nonce does not tell whose it was");
        let Some(Outgoing::Registration(newer, _)) = extrinsics.next(&account) else { panic!("none") };
        assert_eq!(newer, registration(20));
        extrinsics.observe(12 + 2 * RESEND_BLOCKS, hash(6), Some(6));
        let Some(Outgoing::Call(again)) = extrinsics.next(&account) else { panic!("none") };
        assert!(is(&again, &confirmation(1)) && again != first);
        extrinsics.observe(13 + 2 * RESEND_BLOCKS, hash(7), Some(7));
        assert!(!extrinsics.holds(&confirmation(1)), "not a third time");
    }

    #[test]
    fn a_lost_call_is_not_forgotten_while_registrations_do_not_land() {
        let (mut extrinsics, account) = extrinsics();
        extrinsics.observe(10, hash(1), Some(4));
        extrinsics.add(confirmation(1));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Call(_))));
        extrinsics.register(registration(10));
        extrinsics.observe(20, hash(2), Some(4));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Registration(..))));
        extrinsics.register(registration(20));
        extrinsics.observe(20 + TURN_BLOCKS + 1, hash(3), Some(4));
        assert!(matches!(extrinsics.next(&account), Some(Outgoing::Call(_))), "its turn");
        extrinsics.observe(20 + TURN_BLOCKS + 2, hash(4), Some(5));
        assert!(!extrinsics.holds(&confirmation(1)), "the registration with this nonce could not land any more");
        let Some(Outgoing::Registration(newer, _)) = extrinsics.next(&account) else { panic!("none") };
        assert_eq!(newer, registration(20));
    }
}
