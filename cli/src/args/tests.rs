//! What the command line takes.

use clap::CommandFactory;
use cloister_client::H256;

use super::{
    values::{parse_fingerprint, parse_node_url},
    *,
};

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_shard_is_written_in_hex_or_base58() {
    let shard = ShardId(H256::repeat_byte(7));
    assert_eq!(parse_shard(&format!("0x{}", "07".repeat(32))), Ok(shard));
    assert_eq!(parse_shard(&bs58::encode([7; 32]).into_string()), Ok(shard));
    for wrong in ["0x07", "", "0OIl", &bs58::encode([7; 31]).into_string()] {
        assert!(parse_shard(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_fingerprint_is_written_in_hex_or_base58() {
    let fingerprint = H256::repeat_byte(7);
    let (hex, base58) = ("07".repeat(32), bs58::encode([7; 32]).into_string());
    for text in [&hex, &format!("0x{hex}"), &base58] {
        assert_eq!(parse_fingerprint(text), Ok(fingerprint), "{text}");
    }
    for wrong in ["", "0x07", &hex[1..], &base58[1..], "0OIl"] {
        assert_eq!(parse_fingerprint(wrong), Err("a fingerprint is 32 bytes in hex or base58"), "{wrong}");
    }
}

#[test]
fn a_node_speaks_websocket() {
    for url in ["ws://127.0.0.1:9944", "wss://node.example"] {
        assert_eq!(parse_node_url(url).as_deref(), Ok(url));
    }
    for wrong in ["", "ws://", "http://127.0.0.1:9944", "127.0.0.1:9944"] {
        assert!(parse_node_url(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn options_may_stand_behind_the_command() {
    let cli = Cli::try_parse_from(["cloister", "trusted", "transfer", "//Alice", "//Bob", "1", "--direct", "--json"]);
    let cli = cli.unwrap();
    assert!(cli.global.json);
    assert!(matches!(cli.command, Command::Trusted { direct: true, command: Trusted::Transfer(_), .. }));
}

fn transfer(options: &[&str]) -> Result<(bool, TransferArgs), clap::Error> {
    let arguments = ["cloister", "trusted", "transfer", "//Alice", "//Bob", "1"];
    match Cli::try_parse_from(arguments.iter().chain(options))?.command {
        Command::Trusted { direct, command: Trusted::Transfer(transfer), .. } => Ok((direct, transfer)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_confidential_transfer_goes_through_the_inbox_unless_told_otherwise() {
    let (direct, TransferArgs { payment, wait }) = transfer(&[]).unwrap();
    assert_eq!((direct, wait, payment.call.timeout, payment.call.payer), (false, TrustedWaitFor::InBlock, 120, None));
    let (direct, TransferArgs { payment, wait }) =
        transfer(&["--direct", "--wait", "finalized", "--timeout", "5"]).unwrap();
    assert_eq!((direct, wait, payment.call.timeout), (true, TrustedWaitFor::Finalized, 5));
    assert_eq!(transfer(&["--payer", "//Bob"]).unwrap().1.payment.call.payer.as_deref(), Some("//Bob"));
    for wrong in [["--wait", "submitted"], ["--timeout", "-1"], ["--timeout", "soon"]] {
        assert!(transfer(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn money_on_its_way_out_is_followed_to_its_end_unless_told_otherwise() {
    let unshield = |options: &[&str]| {
        let arguments = ["cloister", "trusted", "unshield-funds", "//Alice", "//Bob", "1.5"];
        match Cli::try_parse_from(arguments.iter().chain(options))?.command {
            Command::Trusted { direct, command: Trusted::UnshieldFunds(UnshieldArgs { payment, wait }), .. } => {
                Ok::<_, clap::Error>((direct, wait, payment.amount))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(unshield(&[]).unwrap(), (false, UnshieldWaitFor::Settled, 1_500_000_000_000));
    for (text, expected) in [("in-block", UnshieldWaitFor::InBlock), ("finalized", UnshieldWaitFor::Finalized)] {
        let (direct, wait, _) = unshield(&["--direct", "--wait", text]).unwrap();
        assert_eq!((direct, wait), (true, expected));
    }
    for wrong in ["submitted", "credited"] {
        assert!(unshield(&["--wait", wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn roots_calls_have_no_defaults() {
    let shard = bs58::encode([7; 32]).into_string();
    let parse = |options: &[&str]| {
        let arguments = ["cloister", "shard"].into_iter().chain(options.iter().copied());
        match Cli::try_parse_from(arguments)?.command {
            Command::Shard { command } => Ok::<_, clap::Error>(command),
            other => panic!("{other:?}"),
        }
    };
    let named = ["--shard", shard.as_str()];
    let rooted = ["--shard", shard.as_str(), "--sudo", "//Alice"];
    for command in [&["retire"][..], &["limit", "default"], &["config", "--maintenance", "on"]] {
        assert!(parse(command).is_err(), "{command:?}");
        assert!(parse(&[command, &named].concat()).is_err(), "{command:?}");
        parse(&[command, &rooted].concat()).unwrap();
    }
    let config = parse(&[&["config", "--maintenance", "off", "--delay", "9"], &rooted[..]].concat()).unwrap();
    assert!(matches!(config, ShardCommand::Config { maintenance: Switch::Off, delay: 9, .. }), "{config:?}");
    assert!(parse(&[&["config"], &rooted[..]].concat()).is_err());
    let limit = parse(&[&["limit", "5planck", "3600"], &rooted[..]].concat()).unwrap();
    assert!(matches!(limit, ShardCommand::Limit { amount: Limit::Amount(5), period: Some(3_600), .. }), "{limit:?}");
    for wrong in [["limit", "much", "1"], ["limit", "1", "0"]] {
        assert!(parse(&[&wrong, &rooted[..]].concat()).is_err(), "{wrong:?}");
    }
}

#[test]
fn who_listens_and_who_audits_may_say_where_to_begin() {
    let shard = format!("0x{}", "07".repeat(32));
    let parse = |arguments: &[&str]| Cli::try_parse_from(["cloister"].iter().chain(arguments)).map(|cli| cli.command);
    let Ok(Command::Listen(args)) = parse(&["listen"]) else { panic!("no listening") };
    assert_eq!((args.shard, args.from, args.blocks, args.until_event), (None, None, None, None));
    let Ok(Command::Listen(args)) = parse(&["listen", "--shard", &shard, "--from", "7", "--until-event", "Claimed"])
    else {
        panic!("no listening")
    };
    assert_eq!((args.shard, args.from), (Some(ShardId(H256::repeat_byte(7))), Some(7)));
    assert!(parse(&["listen", "--blocks", "1", "--until-event", "Claimed"]).is_err());

    let Ok(Command::Audit(args)) = parse(&["audit", "--shard", &shard]) else { panic!("no audit") };
    assert_eq!((args.url.as_str(), args.from), ("ws://127.0.0.1:2001", 1));
    for wrong in [&["audit"][..], &["audit", "--shard", &shard, "--url", "http://worker:2001"]] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_workers_status_is_read_from_its_health_port() {
    let status = |options: &[&str]| {
        let arguments = ["cloister", "worker", "status"];
        match Cli::try_parse_from(arguments.iter().chain(options))?.command {
            Command::Worker { command: WorkerCommand::Status { url, watch } } => Ok((url.to_string(), watch)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(&[]).unwrap(), ("http://127.0.0.1:4545/status".into(), false));
    let given = status(&["--watch", "--url", "http://[::1]:80"]).unwrap();
    assert_eq!(given, ("http://[::1]:80/status".into(), true));
    let refused: clap::Error = status(&["--url", "https://worker:4545"]).unwrap_err();
    assert!(refused.to_string().contains("like http://host:port"), "{refused}");
}
