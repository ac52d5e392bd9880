//! Registered enclaves, as layer one records them: `list-workers`, and what `attest show` begins with.

use cloister_claims::TeeKind;
use cloister_client::{AccountId, BuildMode, EnclaveRecord, Moment, ShardEntry, ShardId, Standing};
use serde_json::{Value, json};

use crate::{
    Session,
    failure::Failure,
    output::{Report, printable},
    time,
};

/// `list-workers`
pub async fn list(session: &Session) -> Result<Report, Failure> {
    let layer_one = session.layer_one().await?;
    let (at, header) = layer_one.finalized_head().await?;
    let (mut enclaves, shards, now) =
        tokio::try_join!(layer_one.enclaves_at(at), layer_one.shards_at(at), layer_one.time_at(at))?;
    enclaves.sort_by(|one, other| one.0.cmp(&other.0));

    let mut report = Report::default();
    let mut listed: Vec<Value> = Vec::new();
    for (account, record) in &enclaves {
        let worker = Worker { account, record, shards: founded_by(account, &shards), now };
        let rows = worker.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        if !listed.is_empty() {
            report = report.line("");
        }
        for (name, text) in rows {
            report = report.line(format!("{name:width$}  {text}"));
        }
        // In the form that scripts for the published command line look for.
        report = report.line(format!("  MRENCLAVE: {}", bs58::encode(record.fingerprint).into_string()));
        listed.push(worker.json());
    }
    if listed.is_empty() {
        report = report.line("no enclave is registered");
    }
    Ok(report.hidden("workers", listed).hidden("block_number", header.number).hidden("time", now))
}

/// The shards that an enclave bore, the newest first.
pub fn founded_by(account: &AccountId, shards: &[(ShardId, ShardEntry)]) -> Vec<ShardId> {
    let mut founded: Vec<_> = shards.iter().filter(|(_, entry)| entry.birth.founder == *account).collect();
    founded.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.born_at));
    founded.into_iter().map(|(id, _)| *id).collect()
}

/// A registered enclave at a time of layer one.
pub struct Worker<'a> {
    pub account: &'a AccountId,
    pub record: &'a EnclaveRecord,
    pub shards: Vec<ShardId>,
    pub now: Moment,
}

impl Worker<'_> {
    /// For programs.
    pub fn json(&self) -> Value {
        let Self { account, record, shards, now } = self;
        let (standing, leaving_until) = match record.standing {
            Standing::Leaving { until } => ("leaving", Some(until)),
            Standing::Active if record.serves_at(*now) => ("active", None),
            Standing::Active => ("expired", None),
        };
        json!({
            "account": account.to_string(),
            "kind": record.kind.name(),
            "tcb_status": record.tcb_status.name(),
            "advisories": record.advisories.iter().map(|advisory| advisory.as_str()).collect::<Vec<_>>(),
            "debug": record.build_mode == BuildMode::Debug,
            "fingerprint": hex0x(&record.fingerprint),
            "mrenclave": bs58::encode(record.fingerprint).into_string(),
            "signer": hex0x(&record.signer),
            "platform_id_hash": hex0x(&record.platform_id_hash),
            "incarnation_key": hex0x(&record.incarnation_key),
            "tls_key_hash": hex0x(&record.tls_key_hash),
            "url": self.url(),
            "bound_block": record.bound_block,
            "incarnation_since": record.incarnation_since,
            "verified_at": record.verified_at,
            "expires_at": record.expires_at,
            "expires": time::utc(record.expires_at),
            "remaining_ms": record.expires_at.saturating_sub(*now),
            "standing": standing,
            "leaving_until": leaving_until,
            "serves": record.serves_at(*now),
            "shards": shards.iter().map(hex0x).collect::<Vec<_>>(),
        })
    }

    /// For people: name and text.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { account, record, shards, now } = self;
        let kind = match record.kind {
            TeeKind::Simulated => SIMULATED.to_string(),
            kind => kind.name().to_uppercase(),
        };
        let status = match record.advisories.as_slice() {
            [] => record.tcb_status.name().to_string(),
            open => {
                let open: Vec<_> = open.iter().map(|advisory| advisory.as_str()).collect();
                format!("{}, open: {}", record.tcb_status.name(), open.join(", "))
            }
        };
        let standing = match record.standing {
            Standing::Leaving { until } if until > *now => {
                format!(
                    "LEAVING: may hand over its keys, nothing else, and may be removed {}",
                    time::from_now(until, *now)
                )
            }
            Standing::Leaving { .. } => "LEAVING: its grace is over, anybody may remove it".into(),
            Standing::Active if record.serves_at(*now) => "active".into(),
            Standing::Active => "EXPIRED: anybody may remove it".into(),
        };
        let expires = format!("{} ({})", time::utc(record.expires_at), time::from_now(record.expires_at, *now));
        let shards: Vec<_> = shards.iter().map(hex0x).collect();
        vec![
            ("account", account.to_string()),
            ("kind", kind),
            ("tcb status", status),
            ("build", if record.build_mode == BuildMode::Debug { DEBUG.into() } else { "production".into() }),
            ("fingerprint", hex0x(&record.fingerprint)),
            ("url", self.url().unwrap_or_else(|| "none".into())),
            (
                "registered",
                format!("names block {}, this start since {}", record.bound_block, record.incarnation_since),
            ),
            ("expires", expires),
            ("standing", standing),
            ("shards", if shards.is_empty() { "none".into() } else { shards.join(", ") }),
        ]
    }

    /// Its operator chose it: what could steer a terminal is escaped.
    fn url(&self) -> Option<String> {
        let url = self.record.url.as_ref()?;
        Some(printable(&String::from_utf8_lossy(url)))
    }
}

pub fn hex0x(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Wherever a simulated enclave is shown.
pub const SIMULATED: &str = "SIMULATED: no hardware, its evidence proves nothing";
/// Wherever an enclave in debug mode is shown.
pub const DEBUG: &str = "DEBUG: its operator can read its memory";

#[cfg(test)]
mod tests {
    use cloister_claims::TcbStatus;

    use super::*;

    fn record(kind: TeeKind) -> EnclaveRecord {
        EnclaveRecord {
            fingerprint: [1; 32],
            signer: [2; 32],
            kind,
            tcb_status: TcbStatus::SwHardeningNeeded,
            advisories: vec!["INTEL-SA-00001".to_string().try_into().unwrap()],
            platform_id_hash: [3; 32],
            build_mode: BuildMode::Production,
            incarnation_key: [4; 32],
            tls_key_hash: [5; 32],
            url: Some(b"wss://worker\x1b[2J".to_vec().try_into().unwrap()),
            bound_block: 7,
            incarnation_since: 6,
            verified_at: 1_000_000,
            expires_at: 2_000_000,
            standing: Standing::Active,
        }
    }

    fn row(worker: &Worker, name: &str) -> String {
        worker.rows().into_iter().find(|row| row.0 == name).unwrap().1
    }

    #[test]
    fn an_enclave_is_shown_as_what_it_is() {
        let account = AccountId::new([9; 32]);
        let record = record(TeeKind::Sgx);
        let worker = Worker { account: &account, record: &record, shards: Vec::new(), now: 1_940_000 };
        assert_eq!(row(&worker, "kind"), "SGX");
        assert_eq!(row(&worker, "tcb status"), "SWHardeningNeeded, open: INTEL-SA-00001");
        assert_eq!(row(&worker, "expires"), "1970-01-01T00:33:20Z (in 1 min)");
        assert_eq!(row(&worker, "standing"), "active");
        assert_eq!(row(&worker, "url"), "wss://worker\\u{1b}[2J");
        let json = worker.json();
        assert_eq!(json["kind"], "sgx");
        assert_eq!(json["standing"], "active");
        assert_eq!(json["remaining_ms"], 60_000);
        assert_eq!(json["fingerprint"], format!("0x{}", "01".repeat(32)));
    }

    #[test]
    fn who_may_not_serve_and_who_only_pretends_stand_out() {
        let account = AccountId::new([9; 32]);
        let mut record = record(TeeKind::Simulated);
        let now = record.expires_at;
        let worker = Worker { account: &account, record: &record, shards: vec![ShardId::default()], now };
        assert!(row(&worker, "kind").starts_with("SIMULATED"));
        assert!(row(&worker, "standing").starts_with("EXPIRED"));
        assert_eq!(worker.json()["standing"], "expired");
        assert_eq!(worker.json()["serves"], false);
        record.standing = Standing::Leaving { until: now + 1 };
        record.build_mode = BuildMode::Debug;
        let worker = Worker { account: &account, record: &record, shards: Vec::new(), now };
        assert!(row(&worker, "standing").starts_with("LEAVING"));
        assert!(row(&worker, "build").starts_with("DEBUG"));
        assert_eq!(worker.json()["standing"], "leaving");
        assert_eq!(worker.json()["leaving_until"], now + 1);
    }
}
